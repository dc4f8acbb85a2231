"""Delta Chat's library as an app on a phone has it: with the token of the device, which JSON-RPC cannot set.

    device.py LIBRARY TOKEN

Otherwise like deltachat-rpc-server: JSON-RPC over standard input and output, with what it keeps in
DC_ACCOUNTS_PATH.
"""

import ctypes
import os
import sys
import threading

TEXT, HANDLE = ctypes.c_char_p, ctypes.c_void_p

FUNCTIONS = {
    "dc_accounts_new": (HANDLE, [TEXT, ctypes.c_int]),
    "dc_accounts_set_push_device_token": (None, [HANDLE, TEXT]),
    "dc_jsonrpc_init": (HANDLE, [HANDLE]),
    "dc_jsonrpc_request": (None, [HANDLE, TEXT]),
    # Not TEXT: the string is to be given back.
    "dc_jsonrpc_next_response": (HANDLE, [HANDLE]),
    "dc_str_unref": (None, [HANDLE]),
}

WRITABLE = 1


def main():
    library = ctypes.CDLL(sys.argv[1])
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    folder = os.environb[b"DC_ACCOUNTS_PATH"]
    accounts = library.dc_accounts_new(folder, WRITABLE)
    if not accounts:
        sys.exit(f"no accounts in {os.fsdecode(folder)}")
    library.dc_accounts_set_push_device_token(accounts, sys.argv[2].encode())
    rpc = library.dc_jsonrpc_init(accounts)
    threading.Thread(target=responses, args=(library, rpc), daemon=True).start()
    for line in sys.stdin.buffer:
        library.dc_jsonrpc_request(rpc, line)
    # The library's threads wait for what never comes.
    os._exit(0)


def responses(library, rpc):
    while response := library.dc_jsonrpc_next_response(rpc):
        sys.stdout.buffer.write(ctypes.string_at(response) + b"\n")
        sys.stdout.buffer.flush()
        library.dc_str_unref(response)


main()
