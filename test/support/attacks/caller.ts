import http from "node:http";
import http2 from "node:http2";
import { connect } from "node:net";
import { envelope } from "../rpc/raw-http2.ts";
import { getProductBytes, getProductPath } from "../rpc/rpc-clients.ts";
import { CALLER_ADDRESS } from "./attackers.ts";

/** The outcome of a call: the gRPC status, or the code of the error that ended it. */
export async function callOnce(port: number, localAddress = CALLER_ADDRESS): Promise<string> {
  const session = http2.connect(`http://127.0.0.1:${port}`, {
    createConnection: () => connect({ port, host: "127.0.0.1", localAddress }),
  });
  try {
    return await new Promise<string>((resolve) => {
      session.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      const stream = session.request({
        ":method": "POST",
        ":path": getProductPath,
        "content-type": "application/grpc",
        te: "trailers",
      });
      let status: string | undefined;
      const record = (headers: http2.IncomingHttpHeaders) => {
        status ??= headers["grpc-status"]?.toString();
      };
      stream.on("response", record).on("trailers", record).resume();
      stream.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      stream.on("close", () => resolve(status ?? "no status"));
      stream.end(envelope(getProductBytes("A")));
    });
  } finally {
    session.destroy();
  }
}

/** Requests a page on a connection of its own, and returns the HTTP status; 0 when the connection was closed. */
export async function probe(port: number, path = "/healthz", localAddress = CALLER_ADDRESS): Promise<number> {
  return new Promise((resolve) => {
    const request = http.get({ host: "127.0.0.1", port, path, localAddress, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on("error", () => resolve(0));
  });
}

/** What a well-behaved caller saw. */
export interface CallerReport {
  calls: number;
  /** The outcomes of calls that failed. */
  failures: string[];
  /** The statuses of probes that were not served. */
  failedProbes: number[];
}

/** Makes calls and probes in turn, each on a new connection, and reports how many were served. */
export async function runCaller(
  port: number,
  calls: number,
  localAddress = CALLER_ADDRESS,
): Promise<CallerReport> {
  const report: CallerReport = { calls, failures: [], failedProbes: [] };
  for (let count = 0; count < calls; count += 1) {
    const outcome = await callOnce(port, localAddress);
    if (outcome !== "0") report.failures.push(outcome);
    const status = await probe(port, "/healthz", localAddress);
    if (status !== 200) report.failedProbes.push(status);
  }
  return report;
}

/** Returns the share of the calls that were served. */
export const successRate = ({ calls, failures }: CallerReport): number => 1 - failures.length / calls;
