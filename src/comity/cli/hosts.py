"""Who hosts, in lines for people."""

from __future__ import annotations

from comity.node.governing import HostReport


def report_lines(report: HostReport) -> list[str]:
    """Who hosts, for people."""
    lines = [
        f"host:    {report.host} at {report.url}, epoch {report.epoch}",
        f"log:     {report.size} entries, final up to {report.final_size}",
    ]
    lines += [f"offer:   {member} at {address}" for member, address in report.offers.items()]
    if report.next_url:
        lines.append(f"looking for the next host at {report.next_url}")
    if report.approved:
        lines.append(f"approved {report.approved}; the old host is told nothing more")
    for pending in report.pending:
        names = ", ".join(pending.approvals) or "nobody yet"
        lines.append(f"pending: {pending.document[:12]} {pending.why}; approved by {names}")
    return lines
