/*
 * The channel between the host and the agent: one byte stream, cut into frames, carrying many streams.
 *
 * Frame, little-endian:
 *
 *     u32 length      of the payload, at most FRAME_PAYLOAD_MAX
 *     u32 stream      see each kind
 *     u8  kind        one of KIND_*
 *     u8  zero[3]
 *     payload
 *
 * KIND_HELLO    stream 0. JSON {"version", ...}. The host speaks first, the agent answers; each checks the other's
 *               version. A host may say HELLO again at any time: all streams and requests of before are void.
 *               The host's "seed" (hex) is for the random pool: this guest may be one of many that go on from one
 *               saved state.
 * KIND_REQUEST  host to agent. stream = number of the request, chosen by the host, not 0. JSON {"op", ...}.
 * KIND_REPLY    agent to host. stream = number of the request. JSON {"result": {...}} or
 *               {"error": {"code", "errno", "message", "exitCode"?}}. Each request is answered exactly once.
 * KIND_PART     a piece of a message too long for one frame; the next REQUEST, REPLY or EVENT frame completes it.
 *               Only one message a direction may be in pieces, MESSAGE_MAX in all; other kinds may come between.
 * KIND_EVENT    agent to host, stream 0. JSON {"event", ...}.
 * KIND_DATA     bytes of a stream (not 0). The sender owns credit of WINDOW_INITIAL bytes a stream and direction, and
 *               spends the payload's length.
 * KIND_WINDOW   stream (not 0), payload u32: credit that the receiver of DATA gives back once the bytes left its hands.
 * KIND_EOF      stream (not 0), no payload: the sender will send no more DATA on it. The other direction stays open.
 * KIND_RESET    stream (not 0), payload u32 errno: the sender neither sends nor takes any more DATA of this stream.
 *
 * Frames for a stream that is unknown or already over are dropped: they may have been on their way. A frame with a bad
 * length, kind, padding or payload size is a broken peer: the channel ends.
 *
 * Stream numbers below STREAM_AGENT_FIRST are chosen by the host (in the request that opens the stream), the others by
 * the agent: an EVENT names such a stream before its first frame.
 */
#ifndef PROTO_H
#define PROTO_H

#define PROTO_VERSION 1
#define PROTO_PORT_NAME "io.container.agent"

#define FRAME_HEADER_SIZE 12
#define FRAME_PAYLOAD_MAX 65536
#define MESSAGE_MAX 4194304
#define WINDOW_INITIAL 1048576
#define WINDOW_MAX 16777216
#define STREAM_CONTROL 0
#define STREAM_AGENT_FIRST 2147483648

#define KIND_HELLO 1
#define KIND_REQUEST 2
#define KIND_REPLY 3
#define KIND_EVENT 4
#define KIND_DATA 5
#define KIND_EOF 6
#define KIND_WINDOW 7
#define KIND_RESET 8
#define KIND_PART 9

#endif
