import { readFile, stat } from "node:fs/promises";
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EmbeddedStore } from "../../../../src/infra/embedded/embedded-store.ts";
import { startEmbeddedRedis } from "../../../../src/infra/embedded/redis/embedded-redis.ts";
import { runProgram } from "../../../../src/infra/embedded/run-program.ts";
import { createScratchFolder } from "../../../support/embedded/embedded-fixtures.ts";

const hasNative = (await runProgram("/bin/sh", ["-c", "command -v redis-server || command -v valkey-server"]))
  .ok;

for (const kind of ["native", "wasm"] as const) {
  const skip = kind === "native" && !hasNative;
  const name = `Embedded Redis (${kind})${skip ? " (skipped: no redis-server on the PATH)" : ""}`;
  describe.skipIf(skip)(name, () => {
    let scratch: { path: string; remove(): Promise<void> };
    let store: EmbeddedStore;
    let client: Redis;
    const clients: Redis[] = [];
    const connect = (url = store.url) => {
      const newClient = new Redis(url, { maxRetriesPerRequest: 0, retryStrategy: () => null });
      newClient.on("error", () => {});
      clients.push(newClient);
      return newClient;
    };
    beforeAll(async () => {
      scratch = await createScratchFolder();
      store = await startEmbeddedRedis({ dataDir: scratch.path, kind });
      client = connect();
    });
    afterAll(async () => {
      for (const each of clients) each.disconnect();
      await store.stop();
      await scratch.remove();
    });

    it("responds to PING, SET, GET and scripts", async () => {
      expect(await client.ping()).toBe("PONG");
      expect(await client.set("name", "Ωμέγα")).toBe("OK");
      expect(await client.get("name")).toBe("Ωμέγα");
      expect(await client.eval("return redis.call('INCRBY', KEYS[1], ARGV[1])", 1, "n", 7)).toBe(7);
      await expect(client.eval("return redis.call('NONSENSE')", 0)).rejects.toThrow(/unknown/i);
    });

    it("responds without waiting for its timer: 200 consecutive GETs end before a BLPOP of 10 s", async () => {
      // Responses that wait for the timer take 100 ms each, 20 s in all.
      const timeout = connect().blpop("missing", 10);
      const reads = async () => {
        for (let count = 0; count < 200; count += 1) await client.get("name");
        return "reads";
      };
      expect(await Promise.race([timeout, reads()])).toBe("reads");
    });

    it("transfers large values, many pipelined commands and messages between clients", async () => {
      const big = "x".repeat(2_000_000);
      await client.set("big", big);
      const copies = await Promise.all(Array.from({ length: 10 }, () => client.get("big")));
      expect(copies.every((copy) => copy === big)).toBe(true);
      await Promise.all(Array.from({ length: 5_000 }, () => client.incr("count")));
      expect(await client.get("count")).toBe("5000");
      const subscriber = connect();
      const received = new Promise((resolve) => subscriber.on("message", (_, text) => resolve(text)));
      await subscriber.subscribe("news");
      await client.publish("news", "hello");
      expect(await received).toBe("hello");
    });

    it("sends everything to a client that reads slowly", async () => {
      const { hostname, port, password } = new URL(store.url);
      await client.set("big", "x".repeat(2_000_000));
      const socket = connectSocket(Number(port), hostname).pause();
      socket.write(`AUTH ${password}\r\n${"GET big\r\n".repeat(20)}`);
      // The server has responses that it could not send.
      await expect.poll(async () => String(await client.client("LIST"))).toMatch(/ omem=[1-9]/);
      let received = 0;
      for await (const chunk of socket) {
        received += chunk.length;
        if (received >= 40_000_000) break;
      }
      expect(received).toBeGreaterThanOrEqual(40_000_000);
    });

    it("expires keys and blocked commands by its own clock, and notices closed connections", async () => {
      expect(await connect().blpop("nothing", 0.1)).toBe(null);
      await client.set("short", "1", "PX", 30);
      await expect.poll(() => client.get("short")).toBe(null);
      for (const each of clients.slice(1)) each.disconnect();
      await expect.poll(() => client.info("clients")).toMatch(/connected_clients:1\r/);
    });

    it("keeps the most recently used 256 MB, and nothing on the disk", async () => {
      expect(await client.config("GET", "maxmemory")).toEqual(["maxmemory", String(256 * 1024 * 1024)]);
      expect(await client.config("GET", "maxmemory-policy")).toEqual(["maxmemory-policy", "allkeys-lru"]);
      expect(await client.config("GET", "save")).toEqual(["save", ""]);
    });

    it("requires its password, which only a file that no other user can read shows", async () => {
      const { password, host } = new URL(store.url);
      await expect(connect(`redis://${host}`).ping()).rejects.toThrow(/NOAUTH|Connection is closed/);
      await expect(connect(`redis://:wrong@${host}`).ping()).rejects.toThrow();
      const file = join(scratch.path, "redis.url");
      expect(await readFile(file, "utf8")).toBe(`${store.url}\n`);
      expect((await stat(file)).mode & 0o777).toBe(0o600);
      expect((await runProgram("/bin/ps", ["axww", "-o", "command="])).output).not.toContain(password);
      expect(store.description).not.toContain(password);
      expect(await readFile(join(scratch.path, "redis.log"), "utf8")).not.toContain(password);
    });

    it("accepts no connections after stop, which may be called twice", async () => {
      const second = await startEmbeddedRedis({ dataDir: scratch.path, kind });
      await Promise.all([second.stop(), second.stop()]);
      await second.stop();
      await expect(connect(second.url).ping()).rejects.toThrow(/Connection is closed/);
    });

    it("reports when it ends unexpectedly", async () => {
      const second = await startEmbeddedRedis({ dataDir: scratch.path, kind });
      await connect(second.url)
        .call("SHUTDOWN", "NOSAVE")
        .catch(() => {});
      expect(await second.exited).toMatch(/ended unexpectedly/);
      await second.stop();
    });
  });
}

it("embedded Redis prefers a server on the PATH to WebAssembly", async () => {
  const scratch = await createScratchFolder();
  const store = await startEmbeddedRedis({ dataDir: scratch.path });
  await store.stop();
  await scratch.remove();
  expect(store.description).toMatch(hasNative ? /^(Redis|Valkey) [\d.]+ in memory/ : /WebAssembly/);
});
