/*
 * Files into and out of the container as streams: each by a child of the agent that ends when its stream does.
 *
 *   copy.in       {path, stream, into?}        a tar stream to a place in the container; into: its members go there
 *   copy.out      {path, stream, attributes?}  a file or directory of the container as a tar stream
 *   tree.export   {stream, freeze?}            the root file system as a tar stream, without what is mounted in it
 *   tree.layer    {stream, freeze?}            what the container changed, as an OCI layer
 *   tree.changes  {stream}                     the same as records (changes.h)
 *   share.replay  {stream, path}               what changed in the share `path`, a volume's name (replay.h)
 *
 * The first two see what the container's processes see, from inside its mount namespace: no path of theirs leads out.
 */
#ifndef TRANSFER_H
#define TRANSFER_H

#include <stdint.h>

/* The host reads a transfer's stream no more: end it now. One that is fed sees the end of its input, and cleans up. */
void transfer_unwanted(uint32_t stream);

/* End all that is under way; writers that were held up go on. */
void transfer_reset_all(void);

#endif
