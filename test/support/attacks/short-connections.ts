import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { onTestFinished } from "vitest";
import type { TlsFiles } from "../../../src/rpc/server/connections/listener.ts";
import { waitForClose } from "../rpc/raw-connection.ts";
import type { LogLine } from "../rpc/rpc-server.ts";
import { createSelfSignedCertificate } from "../rpc/self-signed-certificate.ts";

/** Opens a connection, sends bytes, and closes it. */
export async function connectAndClose(
  port: number,
  localAddress: string,
  bytes: Uint8Array = new Uint8Array(),
): Promise<void> {
  const socket = connectTcp({ port, host: "127.0.0.1", localAddress });
  socket.on("error", () => {});
  await once(socket, "connect");
  socket.end(bytes);
  await waitForClose(socket);
}

/** Completes a handshake, unless the server refuses it, and closes the connection. */
export async function shakeHandsAndClose(port: number, localAddress: string): Promise<void> {
  const raw = connectTcp({ port, host: "127.0.0.1", localAddress });
  const socket = tls.connect({ socket: raw, rejectUnauthorized: false, ALPNProtocols: ["h2"] });
  socket.on("error", () => {});
  raw.on("error", () => {});
  await new Promise((resolve) => socket.once("secureConnect", resolve).once("close", resolve));
  socket.destroy();
  await waitForClose(raw);
}

/** Writes a certificate and its key, which are removed when the test is over. */
export async function createTlsFiles(): Promise<TlsFiles> {
  const folder = await mkdtemp(join(tmpdir(), "cartwright-churn-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const { cert, key } = createSelfSignedCertificate();
  const files = { certFile: join(folder, "cert.pem"), keyFile: join(folder, "key.pem") };
  await Promise.all([writeFile(files.certFile, cert), writeFile(files.keyFile, key)]);
  return files;
}

/** Returns whether the log says that an address got into debt. */
export const isInDebt = (lines: readonly LogLine[], address: string): boolean =>
  lines.some(({ message, fields }) => message.startsWith("Address in debt") && fields.address === address);
