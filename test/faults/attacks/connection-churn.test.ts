import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { attackerAddress } from "../../support/attacks/attackers.ts";
import { callOnce, probe } from "../../support/attacks/caller.ts";
import {
  connectAndClose,
  createTlsFiles,
  isInDebt,
  shakeHandsAndClose,
} from "../../support/attacks/short-connections.ts";
import { http2Preface } from "../../support/rpc/http2-frames.ts";
import { waitForClose } from "../../support/rpc/raw-connection.ts";
import { expectNoCrash, startRpcServer } from "../../support/rpc/rpc-server.ts";

/** Nothing is regained during a test. */
const limits = { resetBurst: 20, resetsPerSecond: 1e-6 };
const attacker = attackerAddress(0);

expectNoCrash();

test.each([
  ["without bytes", new Uint8Array()],
  ["with half a request", Buffer.from("GET / HTTP/1.1\r\n")],
  ["with the preface of HTTP/2", http2Preface],
])("connections that are closed %s put their address into debt beyond its burst", async (_, bytes) => {
  const { port, lines } = await startRpcServer({ limits });
  for (let count = 0; count < 20; count += 1) await connectAndClose(port, attacker, bytes);
  expect(await callOnce(port, attacker)).toBe("0");
  expect(isInDebt(lines, attacker)).toBe(false);
  await connectAndClose(port, attacker, bytes);
  await expect.poll(() => isInDebt(lines, attacker)).toBe(true);
  expect(await callOnce(port, attacker)).not.toBe("0");
  expect(await callOnce(port)).toBe("0");
});

test("handshakes of TLS without a request cost five times as much as a connection without bytes", async () => {
  const { port, lines } = await startRpcServer({ limits, tls: await createTlsFiles() });
  for (let count = 0; count < 3; count += 1) await shakeHandsAndClose(port, attacker);
  for (let count = 0; count < 5; count += 1) await connectAndClose(port, attacker);
  expect(isInDebt(lines, attacker)).toBe(false);
  await shakeHandsAndClose(port, attacker);
  await expect.poll(() => isInDebt(lines, attacker)).toBe(true);
});

test("connections with a request cost their address nothing, however many there are", async () => {
  const { port, lines } = await startRpcServer({ limits });
  for (let count = 0; count < 50; count += 1) {
    expect(await callOnce(port, attacker)).toBe("0");
    expect(await probe(port, "/healthz", attacker)).toBe(200);
  }
  expect(isInDebt(lines, attacker)).toBe(false);
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
  expect(isInDebt(lines, attacker)).toBe(false);
});
