import { p } from "@mikro-orm/postgresql";

/** A point in time with the millisecond precision of JavaScript dates, so that it reads as it was written. */
export const timestamp = () => p.datetime().columnType("timestamptz(3)");
