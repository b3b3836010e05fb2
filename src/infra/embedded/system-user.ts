import { readFile } from "node:fs/promises";

/** A user of the operating system as which a store runs. */
export interface SystemUser {
  name: string;
  uid: number;
  gid: number;
}

/** Returns whether this process runs as root. PostgreSQL does not run as root. */
export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** Finds the unprivileged user as which root runs the stores. */
export async function findNobody(): Promise<SystemUser> {
  const user = (await listUsers()).find(({ name }) => name === "nobody");
  return user ?? { name: "nobody", uid: 65_534, gid: 65_534 };
}

/** Finds the name of a user. */
export async function findUserName(uid: number): Promise<string> {
  return (await listUsers()).find((user) => user.uid === uid)?.name ?? `user ${uid}`;
}

async function listUsers(): Promise<SystemUser[]> {
  const lines = (await readFile("/etc/passwd", "utf8").catch(() => "")).split("\n");
  return lines.map((line) => {
    const [name = "", , uid, gid] = line.split(":");
    // macOS writes the ids of nobody as -2.
    return { name, uid: Number(uid) >>> 0, gid: Number(gid) >>> 0 };
  });
}
