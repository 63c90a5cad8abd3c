"""Published families as two-way data: config.json ⇄ ModelConfig, published tensor names ⇄ ours."""
