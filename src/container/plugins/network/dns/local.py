"""Answers from the network's own names: a query in wire format in, a response out. The wire format is dnspython's."""

import enum

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from container.plugins.network.dns.wire import HEADER_BYTES, failure
from container.plugins.network.dns.zone import Outcome, Zone

TTL = 5  # seconds (contract 5)
RECORDS_MAX = 12  # of one answer: there are clients that ignore what does not fit 512 bytes
PLAIN_UDP_BYTES, UDP_BYTES, TCP_BYTES = 512, 1232, 65535  # RFC 1035 2.3.4; what no path fragments; RFC 1035 4.2.2


class Elsewhere(enum.Enum):
    """What is no answer: others know, or none is due."""

    FORWARD = "forward"
    DROP = "drop"


def respond(zone: Zone, query: bytes, *, tcp: bool, recursive: bool) -> tuple[bytes | Elsewhere, int]:
    """The response and the size in bytes that it may have; without `recursive` nobody else is asked.

    Deterministic: apart from the first two bytes, the query's id, equal queries get equal responses.
    """
    if len(query) < HEADER_BYTES or query[2] & 0x80:  # a response: answering it could go on for ever
        return Elsewhere.DROP, 0
    try:
        message = dns.message.from_wire(query)
    except dns.message.UnknownTSIGKey:
        return failure(query, dns.rcode.REFUSED), PLAIN_UDP_BYTES
    except (dns.exception.DNSException, ValueError):  # ValueError: an option of EDNS that is not well-formed
        return failure(query, dns.rcode.FORMERR), PLAIN_UDP_BYTES
    limit = TCP_BYTES if tcp else min(max(message.payload, PLAIN_UDP_BYTES), UDP_BYTES)
    response = _respond(zone, message, recursive)
    if response is None:
        # The size that the client allows: a forwarded answer was made for it.
        return Elsewhere.FORWARD, TCP_BYTES if tcp else max(message.payload, PLAIN_UDP_BYTES)
    return response.to_wire(max_size=limit, prefer_truncation=True), limit


def _respond(zone: Zone, query: dns.message.Message, recursive: bool) -> dns.message.Message | None:
    response = dns.message.make_response(query, recursion_available=recursive, our_payload=UDP_BYTES)
    if query.edns > 0:
        response.use_edns(0, payload=UDP_BYTES)
        response.set_rcode(dns.rcode.BADVERS)
        return response
    if query.opcode() != dns.opcode.QUERY:
        response.set_rcode(dns.rcode.NOTIMP)
        return response
    if len(query.question) != 1:
        response.set_rcode(dns.rcode.FORMERR)
        return response
    question = query.question[0]
    if question.rdclass != dns.rdataclass.IN or dns.rdatatype.is_metatype(question.rdtype):
        response.set_rcode(dns.rcode.NOTIMP)  # ANY, transfers, other classes
        return response
    kind = dns.rdatatype.to_text(question.rdtype)
    answer = zone.lookup(question.name.to_text(omit_final_dot=True), kind)
    if answer is None:
        if recursive:
            return None
        response.set_rcode(dns.rcode.NXDOMAIN)  # at once: some resolvers wait for another server after a refusal
        return response
    response.flags |= dns.flags.AA
    if answer.outcome is Outcome.UNKNOWN:
        response.set_rcode(dns.rcode.NXDOMAIN)
    elif answer.records:
        values = [f"{value}." for value in answer.records if _is_name(value)] if kind == "PTR" else answer.records
        if values:
            response.answer.append(dns.rrset.from_text(question.name, TTL, "IN", kind, *values[:RECORDS_MAX]))
    return response


def _is_name(text: str) -> bool:
    """Whether it can be a name in the DNS: an id such as `a..b` is none."""
    try:
        dns.name.from_text(text)
    except dns.exception.DNSException:
        return False
    return True
