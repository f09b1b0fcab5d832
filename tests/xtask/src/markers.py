"""What schemathesis asks of every answer beside its own checks: that it holds nothing of another tenant's.

Each tenant has a marker in everything that it wrote. BULKHEAD_FOREIGN_MARKERS names the markers that no answer may hold, with spaces
between; BULKHEAD_OWN_MARKER, where it is set, the one that some answer must: otherwise the run looked at nothing that could be shown.
Must never: look at anything but answers.
"""

import os

import schemathesis

FOREIGN = [marker.encode() for marker in os.environ["BULKHEAD_FOREIGN_MARKERS"].split()]
OWN = os.environ.get("BULKHEAD_OWN_MARKER", "").encode()


@schemathesis.check
class another_tenants_marker:
    """No answer holds what another tenant wrote."""

    def __init__(self):
        self.seen = not OWN

    def after_response(self, ctx, response, case):
        text = response.content + repr(dict(response.headers)).encode()
        self.seen = self.seen or OWN in text
        for marker in FOREIGN:
            if marker in text:
                raise AssertionError(f"the answer holds {marker.decode()}, which another tenant wrote")

    def after_run(self, ctx):
        if not self.seen:
            raise AssertionError("no answer held the tenant's own marker: nothing was looked at")
