# The control plane, the agent and the command line in one image; the command says which: `server`, `agent`, `migrate`, … Run it with --init (compose: init: true),
# so that somebody reaps what stages leave behind.

# Image under the GPU agent: one with CUDA, Python and what your stages import.
ARG TRAINYARD_GPU_BASE_IMAGE=nvidia/cuda:12.8.1-runtime-ubuntu24.04

FROM node:20-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY . .
RUN npm run build

# What runs needs neither the compiler nor the PostgreSQL binaries: the database is another container.
FROM node:20-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts

FROM scratch AS application
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY bin bin
COPY migrations migrations
COPY src/verl/keys src/verl/keys
COPY src/verl/python src/verl/python
COPY examples examples
COPY deploy/agent-token.sh deploy/agent-token.sh
COPY package.json schema.graphql LICENSE ./

FROM node:20-slim AS trainyard
LABEL org.opencontainers.image.title="trainyard" \
      org.opencontainers.image.description="A control plane for LLM post-training" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production
WORKDIR /app
COPY --from=application /app /app
RUN ln -s /app/bin/trainyard.mjs /usr/local/bin/trainyard \
 && install -d -o 1000 -g 1000 -m 0700 /var/lib/trainyard /var/lib/trainyard/data /var/lib/trainyard/agent /var/lib/trainyard/token
USER 1000:1000
EXPOSE 7070
ENTRYPOINT ["trainyard"]
CMD ["server"]

FROM ${TRAINYARD_GPU_BASE_IMAGE} AS trainyard-gpu
LABEL org.opencontainers.image.title="trainyard-gpu" \
      org.opencontainers.image.description="A Trainyard agent on an image with CUDA" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production
WORKDIR /app
COPY --from=trainyard /usr/local/bin/node /usr/local/bin/node
COPY --from=application /app /app
RUN ln -s /app/bin/trainyard.mjs /usr/local/bin/trainyard \
 && install -d -o 1000 -g 1000 -m 0700 /var/lib/trainyard /var/lib/trainyard/data /var/lib/trainyard/agent /var/lib/trainyard/token
USER 1000:1000
ENTRYPOINT ["trainyard"]
CMD ["agent"]
