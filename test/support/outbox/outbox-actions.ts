import fc from "fast-check";
import { type OutboxModel, RESOURCES } from "./outbox-model.ts";

/** A step of a writer or of the readers. */
export type OutboxAction =
  | { kind: "begin" | "commit" | "rollback"; writer: number }
  | { kind: "change"; writer: number; resource: number }
  | { kind: "read"; rows: number; isKilled: boolean }
  | { kind: "rotate" };

export const WRITERS = 4;

const writer = fc.nat(WRITERS - 1);

/** Any sequence of steps. Steps that are impossible when they come are left out by `runWriterAction`. */
export const outboxActions: fc.Arbitrary<OutboxAction[]> = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("begin"), writer }) },
    {
      weight: 5,
      arbitrary: fc.record({ kind: fc.constant("change"), writer, resource: fc.nat(RESOURCES - 1) }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("commit"), writer }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("rollback"), writer }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("read"),
        rows: fc.constantFrom(1, 2, 100),
        isKilled: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("rotate") }) },
  ),
  { maxLength: 40, size: "max" },
);

/** Runs a step of a writer if it is possible: a change of a resource that an open transaction has changed would wait. */
export async function runWriterAction(model: OutboxModel, action: OutboxAction): Promise<void> {
  if (!("writer" in action)) return;
  const writer = model.writers[action.writer];
  if (writer === undefined || (action.kind === "begin") === (writer.transaction !== undefined)) return;
  if (action.kind === "begin") return writer.begin();
  if (action.kind !== "change") return writer.end(action.kind);
  const isLocked = model.writers.some(
    (other) =>
      other !== writer && other.transaction?.changes.some(({ resource }) => resource === action.resource),
  );
  if (!isLocked) await writer.change(action.resource);
}
