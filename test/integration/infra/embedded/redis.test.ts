import { readFile, stat } from "node:fs/promises";
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../../../../src/infra/embedded/child-process.ts";
import type { EmbeddedStore } from "../../../../src/infra/embedded/embedded-store.ts";
import { startEmbeddedRedis } from "../../../../src/infra/embedded/redis/embedded-redis.ts";
import { scratchFolder } from "../../../support/embedded/embedded-program.ts";

const hasNative = (await run("/bin/sh", ["-c", "command -v redis-server || command -v valkey-server"])).ok;

for (const kind of ["native", "wasm"] as const) {
  const skip = kind === "native" && !hasNative;
  const name = `embedded Redis, ${kind}${skip ? " (skipped: no redis-server on the PATH)" : ""}`;
  describe.skipIf(skip)(name, { timeout: 10_000 }, () => {
    let scratch: { path: string; remove(): Promise<void> };
    let store: EmbeddedStore;
    let client: Redis;
    const clients: Redis[] = [];
    const connect = (url = store.url) => {
      const fresh = new Redis(url, { maxRetriesPerRequest: 0, retryStrategy: () => null });
      fresh.on("error", () => {});
      clients.push(fresh);
      return fresh;
    };
    beforeAll(async () => {
      scratch = await scratchFolder();
      store = await startEmbeddedRedis({ dataDir: scratch.path, kind });
      client = connect();
    });
    afterAll(async () => {
      for (const each of clients) each.disconnect();
      await store.stop();
      await scratch.remove();
    });

    it("answers PING, SET, GET and scripts", async () => {
      expect(await client.ping()).toBe("PONG");
      expect(await client.set("name", "Ωμέγα")).toBe("OK");
      expect(await client.get("name")).toBe("Ωμέγα");
      expect(await client.eval("return redis.call('INCRBY', KEYS[1], ARGV[1])", 1, "n", 7)).toBe(7);
      await expect(client.eval("return redis.call('NONSENSE')", 0)).rejects.toThrow(/unknown/i);
    });

    it("answers at once: the median GET takes less than 20 ms", async () => {
      const times: number[] = [];
      for (let i = 0; i < 51; i++) {
        const start = performance.now();
        await client.get("name");
        times.push(performance.now() - start);
      }
      expect(times.sort((a, b) => a - b)[25]).toBeLessThan(20);
    });

    it("carries big values, many commands at once and messages between clients", async () => {
      const big = "x".repeat(2_000_000);
      await client.set("big", big);
      const copies = await Promise.all(Array.from({ length: 10 }, () => client.get("big")));
      expect(copies.every((copy) => copy === big)).toBe(true);
      await Promise.all(Array.from({ length: 5_000 }, () => client.incr("count")));
      expect(await client.get("count")).toBe("5000");
      const subscriber = connect();
      const heard = new Promise((resolve) => subscriber.on("message", (_, text) => resolve(text)));
      await subscriber.subscribe("news");
      await client.publish("news", "hello");
      expect(await heard).toBe("hello");
    });

    it("waits for a client that reads slowly", async () => {
      const { hostname, port, password } = new URL(store.url);
      await client.set("big", "x".repeat(2_000_000));
      const socket = connectSocket(Number(port), hostname).pause();
      socket.write(`AUTH ${password}\r\n${"GET big\r\n".repeat(20)}`);
      await delay(200);
      let received = 0;
      for await (const chunk of socket) {
        received += chunk.length;
        if (received >= 40_000_000) break;
      }
      expect(received).toBeGreaterThanOrEqual(40_000_000);
    });

    it("times out by its own clock, and notices clients that leave", async () => {
      expect(await connect().blpop("nothing", 0.1)).toBe(null);
      await client.set("short", "1", "PX", 30);
      await expect.poll(() => client.get("short")).toBe(null);
      for (const each of clients.slice(1)) each.disconnect();
      await expect.poll(() => client.info("clients")).toMatch(/connected_clients:1\r/);
    });

    it("keeps 256 MB at most, the latest used, and nothing on the disk", async () => {
      expect(await client.config("GET", "maxmemory")).toEqual(["maxmemory", String(256 * 1024 * 1024)]);
      expect(await client.config("GET", "maxmemory-policy")).toEqual(["maxmemory-policy", "allkeys-lru"]);
      expect(await client.config("GET", "save")).toEqual(["save", ""]);
    });

    it("asks for its password, which shows only in a file that is ours alone", async () => {
      const { password, host } = new URL(store.url);
      await expect(connect(`redis://${host}`).ping()).rejects.toThrow(/NOAUTH|Connection is closed/);
      await expect(connect(`redis://:wrong@${host}`).ping()).rejects.toThrow();
      const file = join(scratch.path, "redis.url");
      expect(await readFile(file, "utf8")).toBe(`${store.url}\n`);
      expect((await stat(file)).mode & 0o777).toBe(0o600);
      expect((await run("/bin/ps", ["axww", "-o", "command="])).output).not.toContain(password);
      expect(store.description).not.toContain(password);
      expect(await readFile(join(scratch.path, "redis.log"), "utf8")).not.toContain(password);
    });

    it("is gone after stop, which may be called twice", async () => {
      const second = await startEmbeddedRedis({ dataDir: scratch.path, kind });
      await Promise.all([second.stop(), second.stop()]);
      await second.stop();
      await expect(connect(second.url).ping()).rejects.toThrow(/Connection is closed/);
    });

    it("tells when it ends by itself", async () => {
      const second = await startEmbeddedRedis({ dataDir: scratch.path, kind });
      await connect(second.url)
        .call("SHUTDOWN", "NOSAVE")
        .catch(() => {});
      expect(await second.exited).toMatch(/ended by itself/);
      await second.stop();
    });
  });
}

it("takes the server from the PATH before the one of WebAssembly", { timeout: 10_000 }, async () => {
  const scratch = await scratchFolder();
  const store = await startEmbeddedRedis({ dataDir: scratch.path });
  await store.stop();
  await scratch.remove();
  expect(store.description).toMatch(hasNative ? /^(Redis|Valkey) [\d.]+ in memory/ : /WebAssembly/);
});
