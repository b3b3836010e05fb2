import { globSync, readFileSync } from "node:fs";
import { posix } from "node:path";

/** One import of a file: what it says, and whether it is gone once types are stripped. */
export interface Import {
  specifier: string;
  typeOnly: boolean;
}

/** Which features a feature may know. */
const SIBLINGS: Readonly<Record<string, readonly string[]>> = {
  catalog: [],
  customer: [],
  tracker: ["catalog"],
  order: ["catalog", "customer", "tracker"],
  identity: ["customer"],
  review: ["catalog", "order"],
  recommendation: ["catalog", "order"],
};
/** Programs of their own beside the service. */
const ROOF = new Set(["seed", "import", "admin"]);
const EDGE = new Set(["serving", "interceptors"]);
const DATABASE = /^(@mikro-orm\/|pg$|pg\/|kysely$)/;
const CONTRACT = /^@(connectrpc|bufbuild)\//;

/** The room of a file; undefined for a folder that the house does not know. */
function roomOf(path: string): string | undefined {
  if (path === "src/client.ts") return "client";
  const [src, folder = "", below] = path.split("/");
  if (src !== "src") return undefined;
  if (below === undefined || ROOF.has(folder)) return "roof";
  const known = ["client", "infra", "kernel", ...EDGE, ...Object.keys(SIBLINGS)];
  return known.includes(folder) ? folder : undefined;
}

/** The file that a relative import means, from the top of the repository; undefined for packages. */
export function targetOf(from: string, specifier: string): string | undefined {
  return specifier.startsWith(".") ? posix.join(posix.dirname(from), specifier) : undefined;
}

/** What is wrong with an import, by house.md's table; undefined when nothing is. */
export function faultOf(from: string, { specifier, typeOnly }: Import): string | undefined {
  const room = roomOf(from);
  if (room === undefined) return `${from} is in no room of the house`;
  const target = targetOf(from, specifier);
  return target === undefined ? packageFault(from, room, specifier) : fileFault(from, room, target, typeOnly);
}

function knowsContract(from: string, room: string): boolean {
  // The import is a caller like others.
  const called = room === "client" || from.startsWith("src/import/");
  return called || from.endsWith(".rpc.ts") || from === "src/app.ts" || EDGE.has(room);
}

function packageFault(from: string, room: string, specifier: string): string | undefined {
  if (CONTRACT.test(specifier) && !knowsContract(from, room))
    return "only rooms at the edge know the contract";
  if (room === "client" && !CONTRACT.test(specifier)) return "a client runs in browsers, on Connect alone";
  const mayKnowDatabase = room === "roof" || room === "infra" || Object.hasOwn(SIBLINGS, room);
  if (DATABASE.test(specifier) && !mayKnowDatabase) return "only features and infra know the database";
  return undefined;
}

function fileFault(from: string, room: string, target: string, typeOnly: boolean): string | undefined {
  if (target.startsWith("gen/")) {
    return knowsContract(from, room) ? undefined : "only rooms at the edge know the contract";
  }
  const other = roomOf(target);
  if (other === undefined) return `${target} is in no room of the house`;
  if (other === room || room === "roof") return undefined;
  if (room === "kernel") return "kernel imports nothing of src";
  if (room === "client") return "the client imports gen only";
  if (other === "kernel") return undefined;
  if (room === "infra") return "infra imports kernel only";
  if (EDGE.has(room)) {
    if (EDGE.has(other)) return undefined;
    return other === "infra" && typeOnly ? undefined : "the edge imports kernel, gen and the types of infra";
  }
  if (other === "infra") return undefined;
  if (SIBLINGS[room]?.includes(other) !== true) return `${room} does not know ${other}`;
  return target === `src/${other}/${other}.ts` ? undefined : "a sibling is known by its main file only";
}

const STATEMENT =
  /^(?:import|export)\s+(type\s+)?(?:\*(?:\s+as\s+[\w$]+)?|\{[^}]*\}|[\w$]+(?:\s*,\s*(?:\{[^}]*\}|\*\s+as\s+[\w$]+))?)\s+from\s*["']([^"']+)["']/gm;
const BARE = /^import\s*["']([^"']+)["']/gm;
const DYNAMIC = /\bimport\s*\(\s*(?:["'`]([^"'`]+)["'`])?/g;

/** The imports and re-exports of a source text, `import type` and `import()` too. */
export function importsIn(text: string): Import[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  return [
    ...[...code.matchAll(STATEMENT)].map(([, type, specifier = ""]) => ({
      specifier,
      typeOnly: type !== undefined,
    })),
    ...[...code.matchAll(BARE)].map(([, specifier = ""]) => ({ specifier, typeOnly: false })),
    // What is computed cannot be checked, and so is nothing that may be imported.
    ...[...code.matchAll(DYNAMIC)].map(([, specifier = "./computed"]) => ({ specifier, typeOnly: false })),
  ];
}

/** All files of src with their imports. */
export function readHouse(): ReadonlyMap<string, readonly Import[]> {
  const files = globSync("src/**/*.ts").map((path) => path.replaceAll("\\", "/"));
  return new Map(files.sort().map((path) => [path, importsIn(readFileSync(path, "utf8"))]));
}

/** A circle of imports, as its files in order; undefined when there is none. */
export function circleIn(house: ReadonlyMap<string, readonly Import[]>): string[] | undefined {
  const done = new Set<string>();
  const walk = (file: string, way: readonly string[]): string[] | undefined => {
    const at = way.indexOf(file);
    if (at >= 0) return [...way.slice(at), file];
    if (done.has(file)) return undefined;
    for (const { specifier } of house.get(file) ?? []) {
      const target = targetOf(file, specifier);
      const circle = target === undefined ? undefined : walk(target, [...way, file]);
      if (circle !== undefined) return circle;
    }
    done.add(file);
    return undefined;
  };
  for (const file of house.keys()) {
    const circle = walk(file, []);
    if (circle !== undefined) return circle;
  }
  return undefined;
}
