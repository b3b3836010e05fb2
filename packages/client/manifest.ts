import manifest from "../../package.json" with { type: "json" };

const { version, license, dependencies } = manifest;
const main = "./dist/src/client/client";

/** The package.json of `cartwright-client`. Its version is that of the service. */
export const clientManifest = {
  name: "cartwright-client",
  version,
  description: "Typed client of Cartwright for Node and browsers.",
  license,
  type: "module",
  sideEffects: false,
  // AbortSignal.any, which the client needs, is part of Node since 20.3.
  engines: { node: ">=20.3" },
  exports: {
    ".": { types: `${main}.d.ts`, default: `${main}.js` },
    "./package.json": "./package.json",
  },
  // Ranges, unlike in the service: a project that uses these packages itself then has one copy of each.
  dependencies: {
    "@bufbuild/protobuf": `^${dependencies["@bufbuild/protobuf"]}`,
    "@connectrpc/connect": `^${dependencies["@connectrpc/connect"]}`,
    "@connectrpc/connect-web": `^${dependencies["@connectrpc/connect-web"]}`,
  },
};
