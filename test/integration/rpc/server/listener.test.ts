import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import http2 from "node:http2";
import https from "node:https";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import tls from "node:tls";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, onTestFinished, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { StartupError } from "../../../../src/kernel/errors.ts";
import { type RpcServerOptions, startRpcServer } from "../../../support/rpc/rpc-server.ts";
import { createSelfSignedCertificate } from "../../../support/rpc/self-signed-certificate.ts";

const key = { case: "sku", value: "A" } as const;
const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);

function openSocket(port: number): Socket {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  onTestFinished(() => {
    socket.destroy();
  });
  return socket;
}

/** Writes a chunk that the server, in the same process, reads before the next one. */
async function writeAlone(socket: Socket, chunk: string | Uint8Array): Promise<void> {
  await new Promise((resolve) => socket.write(chunk, resolve));
  for (let turn = 0; turn < 3; turn += 1) await nextTurn();
}

describe("the first bytes of a connection", () => {
  test.each([1, 2, 3, 24])(
    "the first bytes of a connection select HTTP/2 by its preface, in chunks of %i",
    async (size) => {
      const { port } = await startRpcServer();
      const socket = openSocket(port);
      const bytes = Buffer.concat([Buffer.from(PREFACE), EMPTY_SETTINGS]);
      for (let position = 0; position < bytes.length; position += size) {
        await writeAlone(socket, bytes.subarray(position, position + size));
      }
      const [response]: Buffer[] = await once(socket, "data");
      // A SETTINGS frame (RFC 9113, 6.5).
      expect(response?.[3]).toBe(4);
    },
  );

  test.each(["GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n"])(
    "the first bytes of a connection select HTTP/1.1 by its method, byte by byte: %s",
    async (text) => {
      const { port } = await startRpcServer();
      const socket = openSocket(port);
      for (const byte of text) await writeAlone(socket, byte);
      const [response]: Buffer[] = await once(socket, "data");
      expect(response?.toString()).toMatch(text.startsWith("GET") ? /^HTTP\/1\.1 200/ : /^HTTP\/1\.1 404/);
    },
  );

  test.each(["", "P", "PR", "PRI", "GET / HT"])(
    "a connection that ends after the bytes %j is closed",
    async (text) => {
      const { port } = await startRpcServer({ limits: { firstByteMs: 150, headersMs: 150, pingMs: 100 } });
      const socket = openSocket(port);
      socket.write(text);
      socket.resume();
      await once(socket, "close");
    },
  );

  test("a connection of another protocol is closed", async () => {
    const { url, port } = await startRpcServer();
    const socket = openSocket(port);
    socket.write("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    socket.resume();
    await once(socket, "close");
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });

  test("connections that open and close without a byte do no harm", async () => {
    const { url, port } = await startRpcServer();
    for (let count = 0; count < 50; count += 1) {
      const socket = openSocket(port);
      await once(socket, "connect");
      if (count % 2 === 0) socket.resetAndDestroy();
      else socket.end();
    }
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });
});

test("connections beyond the maximum are closed", async () => {
  const { port } = await startRpcServer({ limits: { maxConnections: 3, reservedConnections: 0 } });
  const sockets = Array.from({ length: 3 }, () => openSocket(port));
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  const further = openSocket(port);
  further.on("error", () => {});
  further.resume();
  await new Promise((resolve) => further.once("close", resolve));
  expect(sockets.map((socket) => socket.readyState)).toEqual(["open", "open", "open"]);
});

test("a port in use is a startup error that names it", async () => {
  const { port } = await startRpcServer();
  const again = startRpcServer({ port });
  await expect(again).rejects.toThrow(StartupError);
  await expect(again).rejects.toThrow(`Cannot listen on 127.0.0.1:${port}: the port is in use.`);
});

describe("TLS", () => {
  async function startSecure(options: RpcServerOptions = {}) {
    const folder = await mkdtemp(join(tmpdir(), "cartwright-tls-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    const { cert, key } = createSelfSignedCertificate();
    const files = { certFile: join(folder, "cert.pem"), keyFile: join(folder, "key.pem") };
    await Promise.all([writeFile(files.certFile, cert), writeFile(files.keyFile, key)]);
    return { ...(await startRpcServer({ tls: files, ...options })), cert, files };
  }

  test("TLS connections without a handshake take no more than the share of their address", async () => {
    const { port, url, cert } = await startSecure({ limits: { maxConnections: 20, reservedConnections: 0 } });
    // Not a byte is sent, so that the server waits for the handshake.
    const silent = Array.from({ length: 30 }, () => {
      const socket = connect({ port, host: "127.0.0.1", localAddress: "127.0.0.2" });
      socket.on("error", () => {});
      onTestFinished(() => {
        socket.destroy();
      });
      return socket.resume();
    });
    await expect.poll(() => silent.filter(({ destroyed }) => destroyed).length).toBe(20);
    const transport = createGrpcTransport({ baseUrl: url, nodeOptions: { ca: cert } });
    const { product } = await createClient(CatalogService, transport).getProduct({ key });
    expect(product?.sku).toBe("A");
  });

  test("TLS serves HTTP/2 and HTTP/1.1 on one port by ALPN", async () => {
    const { url, cert } = await startSecure();
    expect(url).toMatch(/^https:/);
    const nodeOptions = { ca: cert };
    for (const transport of [
      createGrpcTransport({ baseUrl: url, nodeOptions }),
      createConnectTransport({ baseUrl: url, httpVersion: "1.1", nodeOptions }),
      createConnectTransport({ baseUrl: url, httpVersion: "2", nodeOptions }),
    ]) {
      const response = await createClient(CatalogService, transport).getProduct({ key });
      expect(response.product?.sku).toBe("A");
    }
  });

  test.each([
    ["h2", "h2"],
    ["http/1.1", "http/1.1"],
    [undefined, false],
  ])("a TLS client that offers %s by ALPN gets %s", async (offered, agreed) => {
    const { port, cert } = await startSecure();
    const ALPNProtocols = offered === undefined ? undefined : [offered];
    const socket = tls.connect({
      port,
      host: "127.0.0.1",
      ca: cert,
      ...(ALPNProtocols && { ALPNProtocols }),
    });
    onTestFinished(() => {
      socket.destroy();
    });
    await once(socket, "secureConnect");
    expect(socket.alpnProtocol).toBe(agreed);
    socket.write(agreed === "h2" ? PREFACE : "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    const [response]: Buffer[] = await once(socket, "data");
    if (agreed === "h2") expect(response?.[3]).toBe(4);
    else expect(response?.toString()).toMatch(/^HTTP\/1\.1 200/);
  });

  test("TLS accepts version 1.2 and newer", async () => {
    const { port, cert } = await startSecure();
    for (const [version, works] of [
      ["TLSv1.1", false],
      ["TLSv1.2", true],
      ["TLSv1.3", true],
    ] as const) {
      const socket = tls.connect({
        port,
        host: "127.0.0.1",
        ca: cert,
        minVersion: version,
        maxVersion: version,
        ciphers: "DEFAULT@SECLEVEL=0",
      });
      const worked = await once(socket, "secureConnect").then(
        () => true,
        () => false,
      );
      expect([version, worked]).toEqual([version, works]);
      socket.destroy();
    }
  });

  test("TLS survives plaintext, callers without trust and broken handshakes", async () => {
    const { url, port, cert, server } = await startSecure();
    openSocket(port).write("GET / HTTP/1.1\r\n\r\n");
    openSocket(port).write("\x16\x03\x01");
    const distrustful = tls.connect({ port, host: "127.0.0.1" });
    await once(distrustful, "error");
    const session = http2.connect(url, { ca: cert });
    session.on("error", () => {});
    const stream = session.request({ ":path": "/healthz" });
    expect((await once(stream, "response"))[0][":status"]).toBe(200);
    const status = await new Promise((resolve, reject) => {
      https
        .get(`${url}/healthz`, { ca: cert, agent: false }, (response) => resolve(response.statusCode))
        .on("error", reject);
    });
    expect(status).toBe(200);
    session.destroy();
    await server.close(500);
  });

  test("TLS rejects an unusable certificate as a startup error", async () => {
    const { files } = await startSecure();
    const missing = { ...files, certFile: "/nowhere/cert.pem" };
    await expect(startRpcServer({ tls: missing })).rejects.toThrow(StartupError);
    await expect(startRpcServer({ tls: missing })).rejects.toThrow(/TLS_CERT_FILE.*nowhere/);
    const swapped = { certFile: files.keyFile, keyFile: files.certFile };
    await expect(startRpcServer({ tls: swapped })).rejects.toThrow(StartupError);
    const { files: other } = await startSecure();
    const mismatched = { certFile: files.certFile, keyFile: other.keyFile };
    await expect(startRpcServer({ tls: mismatched })).rejects.toThrow(StartupError);
  });
});
