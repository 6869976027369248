# One image for every process: dial, control, beat, and the operator's `dialer …`.
FROM python:3.13-slim AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/dialer
WORKDIR /src

# The dependencies first, by hash, so that a change of the code alone does not fetch them again.
COPY requirements.txt ./
RUN python -m pip --python /opt/dialer/bin/python install --require-hashes -r requirements.txt

COPY pyproject.toml README.md ./
COPY campaigns campaigns
COPY worker worker
COPY examples examples
RUN python -m pip --python /opt/dialer/bin/python install --no-deps --no-build-isolation .


FROM python:3.13-slim

# A fixed id, so that a volume's owner is the same on every machine.
RUN groupadd --gid 10001 dialer \
    && useradd --uid 10001 --gid dialer --no-create-home --home-dir /var/lib/dialer --shell /usr/sbin/nologin dialer \
    && install --directory --owner=dialer --group=dialer --mode=0750 /var/lib/dialer

COPY --from=build /opt/dialer /opt/dialer

ENV PATH=/opt/dialer/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DIALER_DATA_DIR=/var/lib/dialer

WORKDIR /var/lib/dialer
VOLUME /var/lib/dialer
USER dialer
STOPSIGNAL SIGTERM

# No ENTRYPOINT: `docker run IMAGE dialer --help` and `docker run IMAGE celery …` both run as written.
CMD ["dialer", "--help"]
