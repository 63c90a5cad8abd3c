"""How published families map onto our blocks: their config.json to ModelConfig and back, their names to ours."""
