// The program that connectconformance starts for each combination of protocol, HTTP version, TLS and limit: it serves
// the suite's service by the serving code of Cartwright. Reads a ServerCompatRequest from standard input, writes a
// ServerCompatResponse to standard output, and serves until SIGTERM. Both are preceded by their length in 4 bytes.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { BlockList } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { TlsFiles } from "../../src/rpc/server/connections/listener.ts";
import { createServer } from "../../src/rpc/server/server.ts";
import { MAX_MESSAGE_BYTES } from "../../src/rpc/server/server-limits.ts";
import { conformanceService } from "./contract.ts";
import type { TLSCreds } from "./gen/connectrpc/conformance/v1/config_pb.ts";
import {
  type ServerCompatRequest,
  ServerCompatRequestSchema,
  ServerCompatResponseSchema,
} from "./gen/connectrpc/conformance/v1/server_compat_pb.ts";
import { createConformanceService } from "./service.ts";

const LENGTH_BYTES = 4;

async function readRequest(): Promise<ServerCompatRequest> {
  let received = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    received = Buffer.concat([received, chunk]);
    if (received.length < LENGTH_BYTES) continue;
    const end = LENGTH_BYTES + received.readUInt32BE();
    if (received.length >= end) {
      return fromBinary(ServerCompatRequestSchema, received.subarray(LENGTH_BYTES, end));
    }
  }
  throw new Error("Standard input ended before the request was complete.");
}

function writeResponse(port: number, pemCert: Uint8Array): void {
  const response = create(ServerCompatResponseSchema, { host: "127.0.0.1", port, pemCert });
  const bytes = toBinary(ServerCompatResponseSchema, response);
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(bytes.length);
  process.stdout.write(Buffer.concat([length, bytes]));
}

/** Writes a certificate and its key to files, which are removed at exit. */
function writeTlsFiles({ cert, key }: TLSCreds): TlsFiles {
  const folder = mkdtempSync(join(tmpdir(), "cartwright-conformance-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const files = { certFile: join(folder, "cert.pem"), keyFile: join(folder, "key.pem") };
  writeFileSync(files.certFile, cert);
  writeFileSync(files.keyFile, key, { mode: 0o600 });
  return files;
}

/** Writes warnings and errors to standard error. */
const log = {
  debug() {},
  info() {},
  warn: (fields: Record<string, unknown>, message: string) => console.error(message, fields),
  error: (fields: Record<string, unknown>, message: string) => console.error(message, fields),
};

const request = await readRequest();
const credentials = request.useTls ? request.serverCreds : undefined;
const server = createServer({
  host: "127.0.0.1",
  port: 0,
  tls: credentials && writeTlsFiles(credentials),
  corsOrigins: [],
  trustedProxies: new BlockList(),
  services: [conformanceService],
  routes: (router) => router.service(conformanceService, createConformanceService()),
  authenticate: undefined,
  rateLimiter: undefined,
  cache: undefined,
  encodedBytes: 2 ** 20,
  isReady: async () => ({ ready: true, checks: {} }),
  // The suite compares the details of errors exactly.
  addsErrorInfo: false,
  log,
  limits: { maxRequestBytes: request.messageReceiveLimit || MAX_MESSAGE_BYTES },
});
const { port } = await server.listen();
process.once("SIGTERM", () => void server.close(0).then(() => process.exit()));
writeResponse(port, credentials?.cert ?? new Uint8Array());
