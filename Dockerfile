# syntax=docker/dockerfile:1
ARG NODE_IMAGE=node:24-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /mailroom
COPY package.json package-lock.json ./
# No install scripts: they would fetch a second Node and the linter's binaries.
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN npm run build

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /mailroom
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM ${NODE_IMAGE}
ENV NODE_ENV=production \
    MAILROOM_HOST=0.0.0.0 \
    MAILROOM_DATA=/data \
    MAILROOM_INTERNAL_PORT=7100
WORKDIR /mailroom
# A new volume takes over the owner of what it covers. No VOLUME: each container would leave an anonymous one behind.
RUN install -d -o node -g node /data
COPY --link package.json ./
COPY --link --from=dependencies /mailroom/node_modules node_modules
COPY --link --from=build /mailroom/dist dist
USER node
EXPOSE 8080
# Health is about this node alone: its own actors run and answer.
HEALTHCHECK --interval=3s --timeout=3s --start-period=30s --retries=3 CMD ["node", "-e", "\
  require('node:http').get('http://127.0.0.1:' + process.env.MAILROOM_INTERNAL_PORT + '/healthz', ({ statusCode }) => \
  process.exit(statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
# Node itself, not npm, so that it gets the signals. Run it with --init (compose.yaml does): that reaps what is left of
# programs that a handler started.
ENTRYPOINT ["node", "dist/cli.js"]
CMD ["start"]
