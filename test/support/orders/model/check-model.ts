import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import type { FailedCheck } from "../../stores/invariants.ts";
import { type CommandMix, commandsOf } from "./commands.ts";
import { countOutcomes, countRun, emptyCoverage, type ModelCoverage } from "./model-coverage.ts";
import { describeStored } from "./model-order.ts";
import type { ModelState } from "./model-state.ts";
import { ModelViolation, ShopModel } from "./shop-model.ts";
import type { ShopRun, StoredShop } from "./shop-run.ts";

const RETRY_DELAY_MS = 20;
/** Maximum number of runs that look for smaller commands after a failure. */
const MAX_SHRINKING_RUNS = 100;

export interface ModelCheckOptions {
  runs: number;
  maxCommands: number;
  mix: CommandMix;
  /** Time after which no further run starts, in milliseconds. Unlimited by default. */
  timeLimitMs?: number;
  /** Determines the commands. Random by default, and printed when a run fails. */
  seed?: number;
  /** Whether a failure is reported without a search for smaller commands. Defaults to false. */
  endOnFailure?: boolean;
  /** Creates the products and customers of a run. */
  openRun(): Promise<ShopRun>;
  /** Returns the violations of the invariants in the database. */
  findViolations(): Promise<FailedCheck[]>;
}

export interface ModelCheckResult {
  /** The failure with the smallest commands; undefined if there is none. */
  failure: string | undefined;
  coverage: ModelCoverage;
}

/**
 * Runs random commands against the shop and the model. After each run, writes in doubt are repeated until they have a
 * response, the invariants must hold, and the database must equal the model. The environment variables that a failure
 * of random commands prints run them again.
 */
export async function checkModel(options: ModelCheckOptions): Promise<ModelCheckResult> {
  const { MODEL_SEED, MODEL_PATH, MODEL_COMMANDS }: NodeJS.ProcessEnv =
    options.seed === undefined ? process.env : { MODEL_SEED: `${options.seed}` };
  const commands = commandsOf(options.mix, options.maxCommands, MODEL_COMMANDS);
  const coverage = emptyCoverage();
  const endMs = performance.now() + (options.timeLimitMs ?? Number.POSITIVE_INFINITY);
  let shrinkingRuns = 0;
  let hasFailed = false;
  const checkRun = async (chosen: Iterable<fc.AsyncCommand<ShopModel, ShopRun>>) => {
    const run = countOutcomes(await options.openRun(), coverage);
    const model = new ShopModel(run.state);
    try {
      await fc.asyncModelRun(() => ({ model, real: run }), chosen);
    } finally {
      await run.endFaults();
    }
    await resolveDoubts(model, run);
    await run.completeExpiries();
    const violations = await options.findViolations();
    if (violations.length > 0) throw new ModelViolation(`violated invariants: ${JSON.stringify(violations)}`);
    const stored = await run.readStored();
    compareStored(model, stored);
    countRun(coverage, stored, run.occurredFaults());
  };
  const property = fc.asyncProperty(commands, async (chosen) => {
    if (hasFailed) shrinkingRuns += 1;
    if (shrinkingRuns > MAX_SHRINKING_RUNS || (!hasFailed && performance.now() > endMs)) return;
    await checkRun(chosen).catch((error: unknown) => {
      hasFailed = true;
      throw error;
    });
  });
  const result = await fc.check(property, {
    numRuns: options.runs,
    endOnFailure: options.endOnFailure ?? false,
    ...(MODEL_SEED === undefined ? {} : { seed: Number(MODEL_SEED) }),
    ...(MODEL_PATH === undefined ? {} : { path: MODEL_PATH }),
  });
  if (!result.failed) return { failure: undefined, coverage };
  const text = String(result.counterexample?.[0]);
  const replayPath = /replayPath="([^"]*)"/.exec(text)?.[1] ?? "";
  const failure = [
    options.seed !== undefined
      ? `the fixed seed ${options.seed}`
      : `MODEL_SEED=${result.seed} MODEL_PATH=${result.counterexamplePath} MODEL_COMMANDS=${replayPath}`,
    `after ${result.numRuns} runs and ${result.numShrinks} shrinks:`,
    text,
    String(result.errorInstance),
  ].join("\n");
  if (!(result.errorInstance instanceof ModelViolation))
    throw new Error(failure, { cause: result.errorInstance });
  return { failure, coverage };
}

/** Repeats the writes in doubt until each has a response. */
async function resolveDoubts(model: ShopModel, run: ShopRun): Promise<void> {
  for (let replica = 0; model.inDoubt.length > 0; replica = 1 - replica) {
    const [operation] = model.inDoubt;
    if (operation === undefined) return;
    const observation = await run.call(operation, replica, model.ids);
    model.observe([{ operation, observation }]);
    if (observation.outcome === undefined) await sleep(RETRY_DELAY_MS);
  }
}

function compareStored(model: ShopModel, stored: StoredShop): void {
  const shop = describeShop(stored);
  for (const [key, id] of model.ids.orders) {
    if (stored.orders[key]?.[0]?.id !== id)
      throw new ModelViolation(`the acknowledged order ${key} is not stored: ${id}`);
  }
  model.assertSome(
    (state) => isDeepStrictEqual(shop, describeState(state)),
    () => `the database differs from the model: ${JSON.stringify(shop)}\nModel: ${model}`,
  );
}

function describeShop({ products, orders }: StoredShop) {
  const entries = Object.entries(orders).map(([key, found]) => [key, found.map(describeStored)]);
  return { products, orders: Object.fromEntries(entries) };
}

function describeState({ products, orders }: ModelState) {
  const entries = Object.entries(orders).map(([key, order]) => [key, [describeStored(order)]]);
  return { products, orders: Object.fromEntries(entries) };
}
