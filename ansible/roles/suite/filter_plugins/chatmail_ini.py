"""Reads and writes chatmail.ini, as far as a playbook has to: names and values of its one section."""

import configparser


def chatmail_ini_read(text):
    """The settings of a chatmail.ini, as a dictionary of texts; values of several lines keep their lines."""
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=("#", ";"))
    parser.read_string(text)
    return dict(parser["params"]) if parser.has_section("params") else {}


def chatmail_ini_line(name, value):
    """A setting as the file has it: booleans in small letters, lists as words, further lines indented."""
    if value is None:
        value = ""
    elif isinstance(value, bool):
        value = str(value).lower()
    elif isinstance(value, (list, tuple)):
        value = " ".join(str(item) for item in value)
    first, *further = [line.strip() for line in str(value).splitlines()] or [""]
    return "\n".join([f"{name} = {first}".rstrip()] + [f"    {line}" for line in further if line])


class FilterModule:
    def filters(self):
        return {
            "chatmail_ini_read": chatmail_ini_read,
            "chatmail_ini_line": chatmail_ini_line,
        }
