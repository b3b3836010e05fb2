import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";
import { runProgram } from "../run-program.ts";
import type { SystemUser } from "../system-user.ts";

const OLDEST_MAJOR = 6;

/** A server program on the PATH. */
export interface RedisProgram {
  file: string;
  /** Such as "Redis 8.2.1". */
  name: string;
}

/** Finds the first `redis-server` or `valkey-server` on the PATH that the user can run and that is recent enough. */
export async function findRedisProgram(user: SystemUser | undefined): Promise<RedisProgram | undefined> {
  if (process.platform === "win32") return undefined;
  for (const command of ["redis-server", "valkey-server"]) {
    for (const folder of (process.env.PATH ?? "").split(delimiter).filter(isAbsolute)) {
      const program = await tryProgram(join(folder, command), user);
      if (program !== undefined) return program;
    }
  }
  return undefined;
}

async function tryProgram(file: string, user: SystemUser | undefined): Promise<RedisProgram | undefined> {
  try {
    await access(file, constants.X_OK);
  } catch {
    return undefined;
  }
  const { ok, output } = await runProgram(file, ["--version"], user);
  const [, kind, version] = /^(Redis|Valkey) server v=([\d.]+)/i.exec(output) ?? [];
  if (!ok || kind === undefined || version === undefined) return undefined;
  return Number.parseInt(version, 10) >= OLDEST_MAJOR ? { file, name: `${kind} ${version}` } : undefined;
}
