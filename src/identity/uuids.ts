/** The nil UUID (RFC 9562, 5.9): no row has it. */
export const NIL_UUID = "00000000-0000-0000-0000-000000000000";
/** The max UUID (RFC 9562, 5.10): every row's id sorts before it. */
export const MAX_UUID = "ffffffff-ffff-ffff-ffff-ffffffffffff";
