import type { Log } from "../../src/kernel/log.ts";

const nothing = () => {};

/** For tests that do not look at the log. */
export const silentLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
