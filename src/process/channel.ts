/**
 * Messages between a parent and its children. Either side may end at any moment, and a message to a side that has ended
 * must not take this one along: `send` without a callback ends the process by an uncaught error.
 */

/** What a parent sends to a child that serves, to stop it in order. */
export const stopMessage = { type: 'stop' } as const;

/** One end of a channel: a child process, or `process` itself in a child. */
export interface ChannelEnd {
  readonly connected: boolean;
  send?(message: object, callback: (error: Error | null) => void): boolean;
}

/**
 * Sends a message. It may get lost: the other side is ending then, which its `exit` or `disconnect` event tells.
 * @param onLost called at most once, when it is known that the message was not sent
 */
export function tell(peer: ChannelEnd, message: object, onLost: () => void = () => undefined): void {
  if (!peer.connected || peer.send === undefined) {
    onLost();
    return;
  }
  peer.send(message, (error) => {
    if (error !== null) onLost();
  });
}
