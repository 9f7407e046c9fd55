"""One CRI call per file: `async def CALL(runtime, request) -> response`."""
