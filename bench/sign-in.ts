import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { IdentityService } from "../gen/cartwright/identity/v1/identity_service_pb.ts";
import { StartupError } from "../src/kernel/errors.ts";
import { encodeRequest, openGrpcClient } from "./harness/grpc-client.ts";
import { formatNumber } from "./harness/numbers.ts";
import { comparePaired, type Side } from "./harness/paired-latency.ts";
import { parseInteger, readOptions, runBench } from "./harness/run-bench.ts";

const USAGE = `Usage: node bench/sign-in.ts <url before> <url after> [--rounds 400]
  Compares SignIn of two running services with ACCESS=on and LIMITS=off, whose calls alternate.`;
/** Each account gets a part of the sign-ins, so that none has more sessions than people have. */
const ACCOUNTS = 8;

function readArguments(): { urls: [before: string, after: string]; rounds: number } {
  return readOptions(USAGE, () => {
    const options = { rounds: { type: "string", default: "400" } } as const;
    const { values, positionals } = parseArgs({ allowPositionals: true, options });
    const [before, after, ...rest] = positionals;
    if (before === undefined || after === undefined || rest.length > 0) {
      throw new StartupError("Two URLs are needed.");
    }
    return { urls: [before, after], rounds: parseInteger("rounds", values.rounds, 10, 100_000) };
  });
}

/** Registers accounts, and returns a side whose requests sign in to them in turn. */
async function openSide(url: string): Promise<Side> {
  const identity = createClient(IdentityService, createGrpcTransport({ baseUrl: url }));
  const requests = await Promise.all(
    Array.from({ length: ACCOUNTS }, async () => {
      const credentials = { email: `${randomUUID()}@example.com`, password: randomUUID() };
      await identity.register({ ...credentials, name: "Bench" });
      return encodeRequest(IdentityService.method.signIn, credentials);
    }),
  );
  let calls = 0;
  const next = () => {
    const request = requests[calls % requests.length];
    calls += 1;
    if (request === undefined) throw new RangeError("There are no accounts.");
    return request;
  };
  return { client: openGrpcClient(url, 1), next };
}

await runBench(async () => {
  const { urls, rounds } = readArguments();
  const [before, after] = [await openSide(urls[0]), await openSide(urls[1])];
  try {
    // Each side is the first one in a half of the calls: the second one has a small advantage.
    const first = await comparePaired(before, after, rounds / 2);
    const second = await comparePaired(after, before, rounds / 2);
    const ratio = Math.sqrt((first.ms / first.otherMs) * (second.otherMs / second.ms));
    const [beforeMs, afterMs] = [(first.ms + second.otherMs) / 2, (first.otherMs + second.ms) / 2];
    console.log(
      `SignIn, medians of ${rounds} alternating calls: before ${formatNumber(beforeMs)} ms, ` +
        `after ${formatNumber(afterMs)} ms, speed after / before ${formatNumber(ratio)} (goal >= 0.97)`,
    );
  } finally {
    before.client.close();
    after.client.close();
  }
});
