"""The C++ kernel for decoding on CPUs, compiled on first use, and the programs it runs."""
