#!/bin/sh
# Answers as nvidia-smi does on a host with two idle GPUs.
case "$1" in
  --query-gpu=*) echo "0, GPU-5d6e1c2a-0000-0000-0000-000000000000, NVIDIA H100 80GB HBM3, 81559, 0, 0"; echo "1, GPU-5d6e1c2a-0000-0000-0000-000000000001, NVIDIA H100 80GB HBM3, 81559, 0, 0" ;;
  *) ;;
esac
