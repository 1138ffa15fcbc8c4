/** The errors of the library. */

/** An error of the library. Its `code` does not change between releases; its message may. */
export class GatewayError extends Error {
  /**
   * What went wrong: `closed` or `disconnected`, of `connect` and `ready`; `buffer_overflow`; `timeout`
   * of a token; `identify`; or the code of an error of the gateway (op 9).
   */
  readonly code: string;
  override name = 'GatewayError';

  constructor(code: string, message?: string) {
    super(message || code);
    this.code = code;
  }
}

/**
 * The error of an iteration whose buffer was full. The iteration yields the buffered events first;
 * later events are lost to it.
 */
export class BufferOverflow extends GatewayError {
  /**
   * The app sees one class, whichever copy of this module (ESM, CommonJS, a bundle) threw the
   * error.
   */
  static override [Symbol.hasInstance](error: any): boolean {
    return error?.name === 'BufferOverflow';
  }

  override name = 'BufferOverflow';

  constructor() {
    super('buffer_overflow');
  }
}
