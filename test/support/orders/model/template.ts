import type { Operation } from "./operation.ts";
import type { ShopModel } from "./shop-model.ts";

/** Chooses an operation when it runs, from what the model has by then. Undefined if there is nothing to choose. */
type Choice = (model: ShopModel) => Operation | undefined;

/** A choice with the text that a failure prints. */
export interface Template {
  choose: Choice;
  text: string;
}

/** Returns the template of an operation that needs no choice. */
export function template(operation: Operation): Template {
  return { choose: () => operation, text: JSON.stringify(operation) };
}

/** Returns the item at an index, modulo the number of items; undefined if there is none. */
export function at<T>(items: readonly T[], index: number): T | undefined {
  return items[index % items.length];
}
