declare const data: unique symbol;

/** A kind of event. `Data` is the type of its events' content, which is stored as JSON. */
export interface Topic<Data> {
  readonly name: string;
  readonly [data]?: Data;
}
