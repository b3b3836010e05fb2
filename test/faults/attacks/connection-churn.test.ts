import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect as connectTcp, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import { attackerAddress } from "../../support/attacks/attackers.ts";
import { callOnce, probe } from "../../support/attacks/caller.ts";
import { http2Preface } from "../../support/rpc/http2-frames.ts";
import { waitForClose } from "../../support/rpc/raw-connection.ts";
import { expectNoCrash, type LogLine, startRpcServer } from "../../support/rpc/rpc-server.ts";
import { createSelfSignedCertificate } from "../../support/rpc/self-signed-certificate.ts";

/** Nothing is regained during a test. */
const limits = { resetBurst: 20, resetsPerSecond: 1e-6 };
const attacker = attackerAddress(0);

expectNoCrash();

/** Opens a connection, sends bytes, and closes it. */
async function connectAndClose(port: number, bytes: Uint8Array = new Uint8Array()): Promise<void> {
  const socket = connectTcp({ port, host: "127.0.0.1", localAddress: attacker });
  socket.on("error", () => {});
  await once(socket, "connect");
  socket.end(bytes);
  await waitForClose(socket);
}

/** Completes a handshake and closes the connection. */
async function shakeHandsAndClose(port: number): Promise<void> {
  const raw = connectTcp({ port, host: "127.0.0.1", localAddress: attacker });
  const socket = tls.connect({ socket: raw, rejectUnauthorized: false, ALPNProtocols: ["h2"] });
  socket.on("error", () => {});
  raw.on("error", () => {});
  await once(socket, "secureConnect");
  socket.destroy();
  await waitForClose(raw);
}

async function createTlsFiles() {
  const folder = await mkdtemp(join(tmpdir(), "cartwright-churn-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const { cert, key } = createSelfSignedCertificate();
  const files = { certFile: join(folder, "cert.pem"), keyFile: join(folder, "key.pem") };
  await Promise.all([writeFile(files.certFile, cert), writeFile(files.keyFile, key)]);
  return files;
}

const isInDebt = (lines: readonly LogLine[]) =>
  lines.some(({ message }) => message.startsWith("Address in debt"));

test.each([
  ["without bytes", new Uint8Array()],
  ["with half a request", Buffer.from("GET / HTTP/1.1\r\n")],
  ["with the preface of HTTP/2", http2Preface],
])("connections that are closed %s put their address into debt beyond its burst", async (_, bytes) => {
  const { port, lines } = await startRpcServer({ limits });
  for (let count = 0; count < 20; count += 1) await connectAndClose(port, bytes);
  expect(await callOnce(port, attacker)).toBe("0");
  expect(isInDebt(lines)).toBe(false);
  await connectAndClose(port, bytes);
  await expect.poll(() => isInDebt(lines)).toBe(true);
  expect(await callOnce(port, attacker)).not.toBe("0");
  expect(await callOnce(port)).toBe("0");
});

test("handshakes of TLS without a request cost five times as much as a connection without bytes", async () => {
  const { port, lines } = await startRpcServer({ limits, tls: await createTlsFiles() });
  for (let count = 0; count < 3; count += 1) await shakeHandsAndClose(port);
  for (let count = 0; count < 5; count += 1) await connectAndClose(port);
  expect(isInDebt(lines)).toBe(false);
  await shakeHandsAndClose(port);
  await expect.poll(() => isInDebt(lines)).toBe(true);
});

test("connections with a request cost their address nothing, however many there are", async () => {
  const { port, lines } = await startRpcServer({ limits });
  for (let count = 0; count < 50; count += 1) {
    expect(await callOnce(port, attacker)).toBe("0");
    expect(await probe(port, "/healthz", attacker)).toBe(200);
  }
  expect(isInDebt(lines)).toBe(false);
});

test("connections that the server closes cost their address nothing", async () => {
  const { server, port, lines } = await startRpcServer({ limits });
  const sockets: Socket[] = [];
  for (let count = 0; count < 50; count += 1) {
    const socket = connectTcp({ port, host: "127.0.0.1", localAddress: attacker });
    socket.on("error", () => {});
    onTestFinished(() => {
      socket.destroy();
    });
    sockets.push(socket);
    socket.write(http2Preface);
    await once(socket, "data");
  }
  await server.close(0);
  await Promise.all(sockets.map(waitForClose));
  expect(isInDebt(lines)).toBe(false);
});
