"""The API's refusals, in the texts and the forms that documentation and clients show."""

from dataclasses import dataclass

from django.http import JsonResponse


@dataclass
class Refused(Exception):
    """An answer that is no success. `shape` is the documented one; the settings may choose."""

    status: int
    message: str
    code: int | None = None
    shape: str = "message"
    headers: dict[str, str] | None = None

    def response(self, error_shape):
        shape = self.shape if error_shape == "documented" else error_shape
        return JsonResponse(self.body(shape), status=self.status, headers=self.headers)

    def body(self, shape):
        nested = {"message": self.message}
        if self.code:
            nested["code"] = self.code
        return {
            "message": {"message": self.message},
            "legacy": {"status": self.status, "message": self.message},
            "nested": {"error": nested},
            "string": {"error": self.message},
        }[shape]


def login_required():
    return Refused(401, "This function requires you to login")


def method_not_allowed(methods):
    return Refused(405, "Method not allowed", headers={"Allow": ", ".join(methods)})


def invalid_parameter(detail=""):
    message = f"Invalid API parameter: {detail}" if detail else "Invalid API parameter"
    return Refused(400, message, 1010, "nested")


def not_found(what):
    return Refused(404, f"{what} not found")


def unsupported_crypto():
    return Refused(422, "Unsupported crypto")


def no_matching_wallet():
    return Refused(500, "Could not find matching xpub", 1003, "legacy")


GAP_LIMIT_MESSAGES = {
    1006: "Gap limit exceeded",
    1008: "Gap limit error: too many addresses with no payments",
    1009: "Gap limit error: unavailable gap limit funds",
}


def gap_limit_reached(settings):
    code = settings.gap_limit_code
    return Refused(settings.gap_limit_http_status, GAP_LIMIT_MESSAGES[code], code, "legacy")
