import { spawn, spawnSync } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

const PROGRAM = "connectconformance";

const pathOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** The results of one kind of connection. */
export interface ConnectionResults {
  protocol: string;
  httpVersion: string;
  tls: string;
  passed: number;
  failed: number;
}

/** The results of a run of the suite. */
export interface SuiteResults {
  /** The names of the cases that failed, or passed although they are known to fail. */
  readonly failed: readonly string[];
  readonly caseCount: number;
  /** In the order of protocol, version of HTTP and TLS. */
  readonly connections: readonly ConnectionResults[];
  /** What the suite wrote of failures, and its summary. */
  readonly report: string;
}

/** Whether connectconformance is on the PATH. */
export const isSuiteInstalled = spawnSync(PROGRAM, ["--version"]).status === 0;

/**
 * Runs connectconformance against the server of this folder.
 * @param patterns of the names of cases, as the suite matches them; none: all cases
 * @throws Error when the suite cannot run
 */
export async function runSuite(patterns: readonly string[]): Promise<SuiteResults> {
  const knownFailing = `@${pathOf("known-failing.txt")}`;
  const options = [
    "--mode",
    "server",
    "--conf",
    pathOf("config.yaml"),
    "--known-failing",
    knownFailing,
    "--vv",
  ];
  const selection = patterns.flatMap((pattern) => ["--run", pattern]);
  const server = [process.execPath, pathOf("server.ts")];
  const suite = spawn(PROGRAM, [...options, ...selection, "--", ...server], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = new Promise<number | null>((resolve, reject) => {
    suite.once("error", reject).once("close", resolve);
  });
  const [output, errors, status] = await Promise.all([text(suite.stdout), text(suite.stderr), exited]);
  const results = parseOutput(`${output}\n${errors}`);
  if (results.caseCount === 0 || (status !== 0 && results.failed.length === 0)) {
    throw new Error(`connectconformance ended with status ${status}:\n${errors || output}`);
  }
  return results;
}

function parseOutput(output: string): SuiteResults {
  const names = new Set(
    Array.from(output.matchAll(/Sending request for "(.*)"\.\.\./g), ([, name = ""]) => name),
  );
  const failed = Array.from(
    output.matchAll(/^FAILED: (.*?)(?: was expected to fail but did not|:)$/gm),
    ([, name = ""]) => name,
  );
  const connections = new Map<string, ConnectionResults>();
  for (const name of names) {
    const [, httpVersion = ""] = /\/HTTPVersion:(\d)/.exec(name) ?? [];
    // The suites of one protocol have its name.
    const [, protocol = suiteProtocol(name)] = /\/Protocol:PROTOCOL_(\w+)/.exec(name) ?? [];
    const [, tls = ""] = /\/TLS:(\w+)/.exec(name) ?? [];
    const key = `${protocol} ${httpVersion} ${tls}`;
    const results = connections.get(key) ?? { protocol, httpVersion, tls, passed: 0, failed: 0 };
    results[failed.includes(name) ? "failed" : "passed"] += 1;
    connections.set(key, results);
  }
  return {
    failed,
    caseCount: names.size,
    connections: [...connections].sort(([a], [b]) => a.localeCompare(b)).map(([, results]) => results),
    report: output.slice(Math.max(0, output.search(/^(?:FAILED|INFO|Total cases): /m))),
  };
}

function suiteProtocol(name: string): string {
  const [protocol] = Object.entries(PROTOCOL_NAMES).find(([, label]) => name.startsWith(`${label} `)) ?? [""];
  return protocol;
}

const PROTOCOL_NAMES: Readonly<Record<string, string>> = {
  CONNECT: "Connect",
  GRPC: "gRPC",
  GRPC_WEB: "gRPC-Web",
};

/** The columns of the table of results. */
export const resultColumns = ["protocol", "HTTP", "connection", "passed", "failed"];

/** Returns the rows of the table of results. */
export function resultRows({ connections }: SuiteResults): string[][] {
  return connections.map(({ protocol, httpVersion, tls, passed, failed }) => [
    PROTOCOL_NAMES[protocol] ?? protocol,
    httpVersion === "1" ? "1.1" : httpVersion,
    tls === "true" ? "TLS" : "plaintext",
    String(passed),
    String(failed),
  ]);
}
