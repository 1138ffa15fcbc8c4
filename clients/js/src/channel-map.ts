/** The types of the messages of channels, by the pattern of the channel's name. */

/** Any channel, with messages of any type: the default of a client. */
export type AnyChannels = { [channel: string]: any };

/** The names that a pattern matches. A `*` stands for any text. */
export type NameOf<Pattern extends string> = Pattern extends `${infer Head}*${infer Tail}`
  ? `${Head}${string}${NameOf<Tail>}`
  : Pattern;

/** The names of channels that a client with these patterns may subscribe to. */
export type ChannelName<Channels extends object> = string extends keyof Channels
  ? string
  : { [Pattern in keyof Channels & string]: NameOf<Pattern> }[keyof Channels & string];

/**
 * The type of the messages of a channel. An exact name decides alone; otherwise the type is the union
 * of all patterns that match.
 */
export type MessageOf<Channels extends object, Channel extends string> = Channel extends keyof Channels
  ? Channels[Channel]
  : { [Pattern in keyof Channels & string]: Channel extends NameOf<Pattern> ? Channels[Pattern] : never }[keyof Channels &
      string];
