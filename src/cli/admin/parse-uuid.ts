import { z } from "zod";
import { StartupError } from "../../kernel/errors.ts";

/**
 * Returns a UUID in lower case.
 * @throws StartupError with the mistake, unless the text is a UUID
 */
export function parseUuid(text: string | undefined, mistake: string): string {
  if (z.uuid().safeParse(text).success && text !== undefined) return text.toLowerCase();
  throw new StartupError(mistake);
}
