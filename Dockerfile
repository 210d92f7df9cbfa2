# syntax=docker/dockerfile:1
#
# CPU:   docker build --tag hlvm .
# CUDA:  docker build --tag hlvm:cuda --build-arg EXTRA=cuda .
#
# Files go in and out through the folder /work:
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" hlvm demo --out demo
#   docker run --rm --gpus all hlvm:cuda doctor
#
# With EXTRA=cuda pip installs JAX with the CUDA libraries; the host has the driver and the NVIDIA Container Toolkit.

ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ARG EXTRA=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
RUN python -m venv /opt/hlvm
# Dependencies in a layer of their own: a change of the code does not install them again.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY hlvm/_version.py hlvm/_version.py
RUN touch hlvm/__init__.py \
    && /opt/hlvm/bin/pip install --constraint constraints.txt ".${EXTRA:+[$EXTRA]}"
COPY hlvm hlvm
RUN /opt/hlvm/bin/pip install --no-deps --force-reinstall .

FROM python:${PYTHON}-slim
COPY --from=build /opt/hlvm /opt/hlvm
# Any user may run this: compiled programs and fonts are kept where all can write.
ENV PATH=/opt/hlvm/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/cache \
    MPLCONFIGDIR=/cache/matplotlib
RUN useradd --create-home --uid 1000 hlvm \
    && mkdir /cache /work \
    && chown hlvm:hlvm /work \
    && chmod 1777 /cache
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["hlvm"]
CMD ["--help"]
