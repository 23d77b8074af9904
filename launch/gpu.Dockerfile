# A container image with mtjax for NVIDIA GPUs, or for TPUs with --build-arg EXTRA=tpu.
#
# Needs:    docker; on the machine that runs the image, the NVIDIA driver (525 or newer) and its container toolkit.
# Command:  docker build -f launch/gpu.Dockerfile -t mtjax .
#           docker run --gpus=all --network=host -v "$PWD/runs:/mtjax/runs" mtjax python -m mtjax.train configs/tiny.py
# Expect:   devices  8 x NVIDIA H100 80GB HBM3, mesh {...}
FROM python:3.11-slim
ARG EXTRA=cuda12
WORKDIR /mtjax
COPY pyproject.toml README.md LICENSE ./
COPY mtjax mtjax
COPY configs configs
COPY launch launch
COPY .ci .ci
# gcs is for checkpoints and data in a bucket; s3 has no versions under these pins, so add it without -c.
RUN pip install --no-cache-dir -c .ci/constraints-3.11.txt ".[$EXTRA,gcs]"
ENV JAX_COMPILATION_CACHE_DIR=/mtjax/runs/.compiled
CMD ["python", "-m", "mtjax.train", "--help"]
