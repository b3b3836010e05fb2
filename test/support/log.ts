import type { Log } from "../../src/kernel/log.ts";

const nothing = () => {};

/** A log that discards all messages. */
export const silentLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
