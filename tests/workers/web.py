"""A chat service whose memory is open before gunicorn forks its workers; ``/USER/N`` answers what the user is shown."""

import json
import os
import time

from convmemory import ConversationMemory

memory = ConversationMemory.from_env(key_prefix=os.environ["PREFIX"]).open()
memory.check()  # warm: both servers are connected to


def app(environ, start_response):
    _, user, said = environ["PATH_INFO"].split("/")
    memory.save_message("chat", f"{user} {said}", user_id=user)
    found = memory.get_history("chat", user_id=user) + memory.get_messages("chat", user_id=user, limit=6)
    time.sleep(0.001)  # so that one worker cannot answer everything
    body = json.dumps({"pid": os.getpid(), "texts": [message.content for message in found]}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
