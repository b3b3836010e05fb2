import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { ConnectError, createClient } from "@connectrpc/connect";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import {
  Health,
  HealthCheckResponse_ServingStatus as Status,
} from "../../../../gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../../../../gen/grpc/reflection/v1/reflection_pb.ts";
import { framesOf, frameType, getFrame, gone, openFrames } from "../../../support/http2-frames.ts";
import {
  callGrpcJs,
  type Fixture,
  grpcJs,
  post,
  start,
  timed,
  transportNames,
  transports,
} from "../../../support/rpc-server.ts";

const { getProduct } = CatalogService.method;
const key = { case: "sku", value: "A" } as const;

/** A server whose GetProduct takes 300 ms. */
async function startSlow(): Promise<Fixture & { started(): number }> {
  let started = 0;
  const fixture = await start({
    catalog: {
      getProduct: async () => {
        started += 1;
        await sleep(300);
        return { product: { sku: "A" } };
      },
    },
  });
  return { ...fixture, started: () => started };
}

describe("calls in flight finish", () => {
  test.each(transportNames)("by %s", async (name) => {
    const { url, server, started } = await startSlow();
    const client = createClient(CatalogService, transports(url)[name]);
    const calls = Array.from({ length: 5 }, () => client.getProduct({ key }));
    await expect.poll(started).toBe(5);
    const [, tookMs] = await timed(server.close(5_000));
    expect((await Promise.all(calls)).map(({ product }) => product?.sku)).toEqual(Array(5).fill("A"));
    expect(tookMs).toBeLessThan(4_000);
  });

  test("by @grpc/grpc-js", async () => {
    const { port, server, started } = await startSlow();
    const call = callGrpcJs(grpcJs(port), getProduct, { key });
    await expect.poll(started).toBe(1);
    await server.close(5_000);
    expect((await call).product?.sku).toBe("A");
  });

  test("under load, and each call that is begun is answered", async () => {
    let done = 0;
    const { url, server } = await start({
      catalog: {
        getProduct: async () => {
          await sleep(5);
          done += 1;
          return { product: { sku: "A" } };
        },
      },
    });
    const all = transports(url);
    let answered = 0;
    const failures: string[] = [];
    const hammer = async (name: (typeof transportNames)[number]) => {
      const client = createClient(CatalogService, all[name]);
      for (;;) {
        try {
          await client.getProduct({ key });
          answered += 1;
        } catch (error) {
          failures.push(String(ConnectError.from(error)));
          return;
        }
      }
    };
    const load = transportNames.flatMap((name) => Array.from({ length: 5 }, () => hammer(name)));
    await expect.poll(() => answered).toBeGreaterThan(200);
    const [, tookMs] = await timed(server.close(3_000));
    await Promise.all(load);
    expect(tookMs).toBeLessThan(2_900);
    expect(done).toBe(answered);
    // What was not answered was never begun, and may be asked again elsewhere. Connect's client calls
    // a stream that HTTP/2 refuses an internal error.
    const begun = failures.filter((text) => !/\[(unavailable|aborted)\]|REFUSED_STREAM/.test(text));
    expect(begun).toEqual([]);
  });
});

describe("when the stop begins", () => {
  test("new connections are refused, and connections that say nothing are closed", async () => {
    const { port, server, url, started } = await startSlow();
    const call = post(url, getProduct, { sku: "A" });
    const silent = connect(port, "127.0.0.1");
    await once(silent, "connect");
    await expect.poll(started).toBe(1);
    const closing = server.close(5_000);
    expect((await timed(gone(silent)))[1]).toBeLessThan(2_500);
    const late = connect(port, "127.0.0.1");
    await expect(once(late, "connect")).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect((await call).status).toBe(200);
    await closing;
  });

  // On a machine that stands still for a moment it takes longer.
  test("watchers of health hear NOT_SERVING, and then the end", { retry: 2 }, async () => {
    const { url, server } = await start();
    const all: Status[][] = [];
    const watches = [transports(url)["gRPC over HTTP/2"], transports(url)["Connect over HTTP/1.1"]].map(
      async (transport) => {
        const seen: Status[] = [];
        all.push(seen);
        for await (const { status } of createClient(Health, transport).watch({})) seen.push(status);
        return seen;
      },
    );
    await expect.poll(() => all.flat()).toEqual([Status.SERVING, Status.SERVING]);
    const closing = server.close(5_000);
    // And do not wait for their next look, a second after the first.
    const [, tookMs] = await timed(Promise.all(watches));
    expect(tookMs).toBeLessThan(700);
    for (const watch of watches) expect(await watch).toEqual([Status.SERVING, Status.NOT_SERVING]);
    await closing;
  });

  test("probes hear no, on connections that are told to end", async () => {
    const { port, server, started, url } = await startSlow();
    const call = post(url, getProduct, { sku: "A" });
    await expect.poll(started).toBe(1);
    const socket = connect(port, "127.0.0.1");
    socket.write("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    const [before]: Buffer[] = await once(socket, "data");
    expect(before?.toString()).toMatch(/^HTTP\/1\.1 200/);
    const closing = server.close(5_000);
    socket.write("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    let after = "";
    socket.on("data", (chunk) => {
      after += chunk;
    });
    await gone(socket);
    expect(after).toMatch(/^HTTP\/1\.1 503/);
    expect(after.toLowerCase()).toContain("connection: close");
    expect(after).toContain('{"ready":false,"checks":{"server":"stopping"}}');
    expect((await call).headers.get("connection")).toBe("close");
    await closing;
  });

  test("HTTP/2 callers get GOAWAY with the last stream that is answered", async () => {
    const { port, server, started } = await startSlow();
    const socket = await openFrames(port);
    socket.write(getFrame(1, "/healthz"));
    socket.write(getFrame(3, `/${CatalogService.typeName}/GetProduct?encoding=json&message={"sku":"A"}`));
    await expect.poll(started).toBe(1);
    const closing = server.close(5_000);
    const seen: string[] = [];
    for await (const { type, stream, payload } of framesOf(socket)) {
      if (type === frameType.goaway)
        seen.push(`goaway ${payload.readUInt32BE(0)} ${payload.readUInt32BE(4)}`);
      if (type === frameType.headers) seen.push(`headers ${stream}`);
    }
    expect(seen.slice(0, 3)).toEqual(["headers 1", "goaway 3 0", "headers 3"]);
    await closing;
  });

  test("idle keep-alive connections are closed", async () => {
    const { port, server } = await start();
    const socket = connect(port, "127.0.0.1");
    socket.write("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    await once(socket, "data");
    expect((await timed(server.close(5_000)))[1]).toBeLessThan(4_000);
    await gone(socket);
  });

  test("reflection ends", async () => {
    const { url, server } = await start();
    const client = createClient(ServerReflection, transports(url)["gRPC over HTTP/2"]);
    const endless = async function* () {
      yield { messageRequest: { case: "listServices", value: "" } } as const;
      await sleep(10_000, undefined, { ref: false });
    };
    const answers: unknown[] = [];
    const asking = (async () => {
      for await (const answer of client.serverReflectionInfo(endless())) answers.push(answer);
    })();
    await expect.poll(() => answers.length).toBe(1);
    expect((await timed(server.close(5_000)))[1]).toBeLessThan(4_000);
    await asking;
  });
});

describe("what does not finish in time", () => {
  test("is cut off", async () => {
    const signals: AbortSignal[] = [];
    const { url, port, server } = await start({
      catalog: {
        getProduct: (_, { signal }) => {
          signals.push(signal);
          return new Promise(() => {});
        },
      },
    });
    const calls = [
      createClient(CatalogService, transports(url)["gRPC over HTTP/2"]).getProduct({ key }),
      createClient(CatalogService, transports(url)["Connect over HTTP/1.1"]).getProduct({ key }),
      callGrpcJs(grpcJs(port), getProduct, { key }),
    ].map((call) =>
      call.then(
        () => "answered",
        () => "cut",
      ),
    );
    await expect.poll(() => signals.length).toBe(3);
    const [, tookMs] = await timed(server.close(200));
    expect(tookMs).toBeGreaterThan(150);
    expect(tookMs).toBeLessThan(3_000);
    expect(await Promise.all(calls)).toEqual(["cut", "cut", "cut"]);
    await expect.poll(() => signals.every(({ aborted }) => aborted)).toBe(true);
  });

  test("is not waited for at all with 0 ms", async () => {
    const { port, server } = await start();
    const sockets = Array.from({ length: 10 }, () => connect(port, "127.0.0.1"));
    for (const socket of sockets) socket.on("error", () => {}).write("GET /healthz HTTP/1.1\r\n");
    await sleep(50);
    expect((await timed(server.close(0)))[1]).toBeLessThan(1_500);
    await Promise.all(sockets.map(gone));
  });
});

test("stopping twice is stopping once, and stopping what never listened is nothing", async () => {
  const { url, server, started } = await startSlow();
  const call = post(url, getProduct, { sku: "A" });
  await expect.poll(started).toBe(1);
  const first = server.close(5_000);
  const second = server.close(0);
  expect((await call).status).toBe(200);
  await Promise.all([first, second]);
  await server.close(0);
});

test("calls after the stop are UNAVAILABLE to @grpc/grpc-js", async () => {
  const { port, server } = await start();
  const client = grpcJs(port);
  await callGrpcJs(client, getProduct, { key });
  await server.close(1_000);
  await expect(callGrpcJs(client, getProduct, { key })).rejects.toMatchObject({ code: status.UNAVAILABLE });
});
