import { globSync, readFileSync } from "node:fs";
import { posix } from "node:path";

/** One import of a file: its specifier, and whether type stripping removes it. */
export interface Import {
  specifier: string;
  typeOnly: boolean;
}

/** The features that each feature may import, by its main file. */
const FEATURES: Readonly<Record<string, readonly string[]>> = {
  inventory: [],
  customer: [],
  catalog: ["inventory"],
  tracker: ["catalog"],
  order: ["catalog", "inventory", "customer", "tracker"],
  identity: ["customer"],
  review: ["catalog", "order"],
  recommendation: ["catalog", "order"],
  operations: [
    "catalog",
    "inventory",
    "customer",
    "tracker",
    "order",
    "identity",
    "review",
    "recommendation",
  ],
};
const DATABASE = /^(@mikro-orm\/|pg$|pg\/|kysely$)/;
const CONTRACT = /^@(connectrpc|bufbuild)\//;

/** Returns the layer of a file, with features by their names; undefined for a folder that belongs to none. */
function layerOf(path: string): string | undefined {
  const [src, folder = "", below] = path.split("/");
  if (src !== "src") return undefined;
  if (below === undefined || folder === "cli" || folder === "config") return "composition";
  const known = ["client", "infra", "kernel", "rpc", ...Object.keys(FEATURES)];
  return known.includes(folder) ? folder : undefined;
}

/** Returns the file that a relative import means, from the repository's root; undefined for packages. */
export function targetOf(from: string, specifier: string): string | undefined {
  return specifier.startsWith(".") ? posix.join(posix.dirname(from), specifier) : undefined;
}

/** Returns the rule of docs/architecture.md that an import breaks; undefined when it breaks none. */
export function violationOf(from: string, { specifier, typeOnly }: Import): string | undefined {
  const layer = layerOf(from);
  if (layer === undefined) return `${from} belongs to no layer`;
  const target = targetOf(from, specifier);
  return target === undefined
    ? packageViolation(from, layer, specifier)
    : fileViolation(from, layer, target, typeOnly);
}

/** Whether a file may import generated contracts and Connect. The import command calls the service as clients do. */
function mayImportContracts(from: string, layer: string): boolean {
  const isCaller = layer === "client" || from.startsWith("src/cli/import/");
  return isCaller || layer === "rpc" || from.endsWith(".rpc.ts") || from === "src/app.ts";
}

function packageViolation(from: string, layer: string, specifier: string): string | undefined {
  if (CONTRACT.test(specifier) && !mayImportContracts(from, layer))
    return "only rpc, *.rpc.ts, client and app.ts import Connect and generated code";
  if (layer === "client" && !CONTRACT.test(specifier)) return "the client runs in browsers, on Connect alone";
  const mayUseDatabase = layer === "composition" || layer === "infra" || Object.hasOwn(FEATURES, layer);
  if (DATABASE.test(specifier) && !mayUseDatabase) return "only features and infra use the database";
  return undefined;
}

function fileViolation(from: string, layer: string, target: string, typeOnly: boolean): string | undefined {
  if (target.startsWith("gen/")) {
    return mayImportContracts(from, layer)
      ? undefined
      : "only rpc, *.rpc.ts, client and app.ts import Connect and generated code";
  }
  const other = layerOf(target);
  if (other === undefined) return `${target} belongs to no layer`;
  if (other === layer || layer === "composition") return undefined;
  if (layer === "kernel") return "kernel imports nothing of src";
  if (layer === "client") return "the client imports gen only";
  if (other === "kernel") return undefined;
  if (layer === "infra") return "infra imports kernel only";
  if (layer === "rpc") {
    return other === "infra" && typeOnly ? undefined : "rpc imports kernel, gen and the types of infra";
  }
  if (other === "infra") return undefined;
  if (FEATURES[layer]?.includes(other) !== true) return `${layer} does not import ${other}`;
  return target === `src/${other}/${other}.ts` ? undefined : "a feature is imported by its main file only";
}

const STATEMENT =
  /^(?:import|export)\s+(type\s+)?(?:\*(?:\s+as\s+[\w$]+)?|\{[^}]*\}|[\w$]+(?:\s*,\s*(?:\{[^}]*\}|\*\s+as\s+[\w$]+))?)\s+from\s*["']([^"']+)["']/gm;
const BARE = /^import\s*["']([^"']+)["']/gm;
const DYNAMIC = /\bimport\s*\(\s*(?:["'`]([^"'`]+)["'`])?/g;

/** Returns the imports and re-exports of a source text, `import type` and `import()` too. */
export function importsIn(text: string): Import[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  return [
    ...[...code.matchAll(STATEMENT)].map(([, type, specifier = ""]) => ({
      specifier,
      typeOnly: type !== undefined,
    })),
    ...[...code.matchAll(BARE)].map(([, specifier = ""]) => ({ specifier, typeOnly: false })),
    // A computed specifier cannot be checked, so it is never allowed.
    ...[...code.matchAll(DYNAMIC)].map(([, specifier = "./computed"]) => ({ specifier, typeOnly: false })),
  ];
}

/** Reads all files of src and returns their imports. */
export function readSources(): ReadonlyMap<string, readonly Import[]> {
  const files = globSync("src/**/*.ts").map((path) => path.replaceAll("\\", "/"));
  return new Map(files.sort().map((path) => [path, importsIn(readFileSync(path, "utf8"))]));
}

/** Returns a cycle of imports, as its files in order; undefined when there is none. */
export function findCycle(sources: ReadonlyMap<string, readonly Import[]>): string[] | undefined {
  const done = new Set<string>();
  const walk = (file: string, path: readonly string[]): string[] | undefined => {
    const at = path.indexOf(file);
    if (at >= 0) return [...path.slice(at), file];
    if (done.has(file)) return undefined;
    for (const { specifier } of sources.get(file) ?? []) {
      const target = targetOf(file, specifier);
      const cycle = target === undefined ? undefined : walk(target, [...path, file]);
      if (cycle !== undefined) return cycle;
    }
    done.add(file);
    return undefined;
  };
  for (const file of sources.keys()) {
    const cycle = walk(file, []);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}
