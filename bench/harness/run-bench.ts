import { StartupError } from "../../src/kernel/errors.ts";

/** Runs a bench. What the person can mend is said in words, and ends it with exit code 1. */
export async function runBench(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof StartupError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}

/**
 * Reads options with the help of `read`.
 * @throws StartError with the usage for whatever it throws
 */
export function readOptions<T>(usage: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new StartupError(`${error instanceof Error ? error.message : error}\n${usage}`);
  }
}

/** A whole number of an option, in a range. */
export function parseInteger(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new StartupError(`--${name} must be a whole number from ${min} to ${max}.`);
}
