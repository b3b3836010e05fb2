import { p } from "@mikro-orm/postgresql";

/** A moment, in milliseconds as JavaScript has them: what is read equals what was written. */
export const timestamp = () => p.datetime().columnType("timestamptz(3)");
