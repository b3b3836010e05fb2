import { z } from "zod";

/** Accepts text of others that PostgreSQL stores: well-formed Unicode without NUL. */
export const storableText = z
  .string()
  .refine((value) => value.isWellFormed() && !value.includes("\0"), "must be well-formed and without NUL");
