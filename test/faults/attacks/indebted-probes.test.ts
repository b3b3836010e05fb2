import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import tls from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import { attack, attackerAddress, floodWithReconnects } from "../../support/attacks/attackers.ts";
import { callOnce, probe } from "../../support/attacks/caller.ts";
import { createTlsFiles, isInDebt, shakeHandsAndClose } from "../../support/attacks/short-connections.ts";
import { getRequestFrame, resetFrame } from "../../support/rpc/http2-frames.ts";
import { waitForClose } from "../../support/rpc/raw-connection.ts";
import {
  expectNoCrash,
  type RpcServer,
  type RpcServerOptions,
  startRpcServer,
} from "../../support/rpc/rpc-server.ts";

/** Nothing is regained during a test. */
const limits = { resetBurst: 10, resetsPerSecond: 1e-6 };
const attacker = attackerAddress(0);
const resets = Buffer.concat(
  Array.from({ length: 50 }, (_, index) => [
    getRequestFrame(2 * index + 1, "/readyz"),
    resetFrame(2 * index + 1),
  ]).flat(),
);
const getHealth = Buffer.from("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");

expectNoCrash();

/** Starts a server and puts the address of the attacker into debt. */
async function startIndebted(options: RpcServerOptions = {}): Promise<RpcServer> {
  const server = await startRpcServer({ limits, ...options });
  await putIntoDebt(server, attacker);
  return server;
}

/** Puts an address into debt by one connection, which the server closes. */
async function putIntoDebt({ port, lines }: RpcServer, address: string): Promise<void> {
  await floodWithReconnects(port, address, { workers: 1, connections: 1, bytes: resets });
  await expect.poll(() => isInDebt(lines, address)).toBe(true);
}

test("an address in debt gets health checks over HTTP/1.1, and nothing else", async () => {
  const { port } = await startIndebted();
  for (let count = 0; count < 20; count += 1) {
    for (const path of ["/healthz", "/livez", "/readyz"]) {
      await expect.poll(() => probe(port, path, attacker)).toBe(200);
    }
  }
  await expect.poll(() => probe(port, "/", attacker)).toBe(503);
  // No gRPC status: the connection is reset.
  expect(await callOnce(port, attacker)).toMatch(/^E/);
  expect(await callOnce(port)).toBe("0");
});

test("an address in debt has two connections at a time, each for one response", async () => {
  const { port, lines } = await startIndebted();
  const refusals = () => lines.filter(({ message }) => message === "Connections refused").length;
  const before = refusals();
  const [first, second] = [1, 2].map(() => attack(port, attacker, Buffer.from("GET ")));
  const third = attack(port, attacker, getHealth);
  await waitForClose(third);
  expect(refusals()).toBe(before + 1);
  expect([first?.closed, second?.closed]).toEqual([false, false]);
  let text = "";
  first?.on("data", (data) => {
    text += data.toString("latin1");
  });
  // The second request of the connection gets no response.
  first?.write(Buffer.concat([getHealth.subarray("GET ".length), getHealth]));
  await expect.poll(() => first?.closed).toBe(true);
  expect(text.match(/HTTP\/1\.1 200/g)).toHaveLength(1);
  expect(text).toMatch(/connection: close/i);
  await expect.poll(() => probe(port, "/healthz", attacker)).toBe(200);
});

test("addresses in debt have at most half of the reserve together", async () => {
  const server = await startIndebted({ limits: { ...limits, reservedConnections: 2 } });
  const { port } = server;
  const other = attackerAddress(1);
  await putIntoDebt(server, other);
  const held = attack(port, attacker, Buffer.from("GET "));
  await once(held, "connect");
  const refused = attack(port, other, getHealth);
  await waitForClose(refused);
  expect(refused.bytesRead).toBe(0);
  expect(held.closed).toBe(false);
});

test("an address in debt gets health checks over TLS by HTTP/1.1, also when it offers HTTP/2", async () => {
  const { port, lines } = await startRpcServer({ limits, tls: await createTlsFiles() });
  while (!isInDebt(lines, attacker)) await shakeHandsAndClose(port, attacker);
  /** Requests /healthz. @returns the protocol of ALPN and the status, or the code of an error */
  const probeTls = (...offered: string[]): Promise<string> =>
    new Promise((resolve) => {
      const raw = connectTcp({ port, host: "127.0.0.1", localAddress: attacker });
      raw.on("error", () => {});
      const socket = tls.connect({ socket: raw, rejectUnauthorized: false, ALPNProtocols: [...offered] });
      onTestFinished(() => {
        socket.destroy();
      });
      socket.once("secureConnect", () => socket.write(getHealth));
      socket.once("data", (data) => resolve(`${socket.alpnProtocol} ${data.toString("latin1", 9, 12)}`));
      socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
  // A place is free again half a second after a handshake.
  await expect.poll(() => probeTls("h2", "http/1.1")).toBe("http/1.1 200");
  await expect.poll(() => probeTls("h2")).toBe("ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL");
});
