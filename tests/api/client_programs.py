"""What programs do with a server, each by its own client: `python client_programs.py NAME ADDRESS MODEL`.

`clients` starts the server, makes the environment that has these clients, and runs this file in it. Each function says
what it got, and fails where that is not what the client's users expect.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ASK = "Name three colours."
CHAT: list[Any] = [{"role": "user", "content": ASK}]


def litellm(url: str, model: str) -> None:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise it looks for prices in the net
    import litellm

    options: dict[str, Any] = {"api_base": f"{url}/v1", "api_key": "none", "max_tokens": 16}
    answer = litellm.completion(model=f"openai/{model}", messages=CHAT, **options)
    said("completion", answer.choices[0].message.content)
    chunks = litellm.completion(model=f"openai/{model}", messages=CHAT, stream=True, **options)
    said("stream", "".join(chunk.choices[0].delta.content or "" for chunk in chunks))
    twin = asyncio.run(litellm.acompletion(model=f"openai/{model}", messages=CHAT, **options))
    said("async", twin.choices[0].message.content)
    document = litellm.text_completion(model=f"text-completion-openai/{model}", prompt=ASK, **options)
    said("document", document.choices[0].text)


def llm(url: str, model: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        listed = f"- model_id: here\n  model_name: {model}\n  api_base: {url}/v1\n"
        Path(home, "extra-openai-models.yaml").write_text(listed)
        environment = os.environ | {"LLM_USER_PATH": home, "OPENAI_API_KEY": "none"}
        asks = [str(Path(sys.executable).with_name("llm")), "-m", "here", "-o", "max_tokens", "16"]
        for options in ([], ["--no-stream"]):
            ran = subprocess.run([*asks, *options, ASK], env=environment, capture_output=True, text=True, timeout=120)
            assert ran.returncode == 0, ran.stderr
            said(" ".join(["llm", *options]), ran.stdout)


def langchain(url: str, model: str) -> None:
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(base_url=f"{url}/v1", api_key="none", model=model, max_tokens=200, max_retries=0)  # type: ignore[arg-type]
    said("invoke", chat.invoke(ASK, max_tokens=16).content)
    said("stream", "".join(str(chunk.content) for chunk in chat.stream(ASK, max_tokens=16)))
    said("batch", " | ".join(str(one.content) for one in chat.batch([ASK, "And three more?"], max_tokens=16)))


def open_webui(url: str, model: str) -> None:
    """What open-webui's server sends: the check of a connection, a chat, and the chat's title."""
    import aiohttp

    headers = {"Authorization": "Bearer none", "Content-Type": "application/json", "X-OpenWebUI-User-Name": "A"}

    async def told() -> None:
        async with aiohttp.ClientSession(trust_env=True, headers=headers) as session:
            async with session.get(f"{url}/v1/models") as answer:
                assert answer.status == 200, await answer.text()
                models = [one["id"] for one in (await answer.json())["data"]]
            assert model in models
            said("models", ", ".join(models))
            body: dict[str, Any] = {"model": model, "messages": CHAT, "max_tokens": 16}
            streamed = json.dumps(body | {"stream": True, "stream_options": {"include_usage": True}})
            async with session.post(f"{url}/v1/chat/completions", data=streamed) as answer:
                assert answer.content_type == "text/event-stream", await answer.text()
                lines = [line.decode().strip() async for line in answer.content]
            events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
            assert lines[-2] == "data: [DONE]" or lines[-1] == "data: [DONE]"
            assert events[-1]["usage"]["completion_tokens"]
            said("chat", "".join(one["choices"][0]["delta"].get("content") or "" for one in events[:-1]))
            title = json.dumps(body | {"stream": False, "max_completion_tokens": 16} | {"max_tokens": None})
            async with session.post(f"{url}/v1/chat/completions", data=title) as answer:
                said("title", (await answer.json())["choices"][0]["message"]["content"])

    asyncio.run(told())


def schemathesis(url: str, model: str) -> None:
    """Random requests by the served schema, right ones and wrong ones: no 500, and every answer as the schema says."""
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    checks += ",negative_data_rejection"
    options = ["--checks", checks, "--max-examples", "30", "--seed", "1", "--request-timeout", "60", "--no-color"]
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/v1/openapi.json", *options]
    with tempfile.TemporaryDirectory() as folder:
        # A body may also be too large, and the queue full.
        expected = '[checks.negative_data_rejection]\nexpected-statuses = ["4xx", "503"]\n'
        Path(folder, "schemathesis.toml").write_text(expected)
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    lines = [line for line in ran.stdout.splitlines() if len(line) < 300]
    assert ran.returncode == 0, "\n".join([*lines, ran.stderr[-3000:]])
    said("tried", next(line for line in lines if line.strip()[:1].isdigit() and "generated" in line))


def said(what: str, text: Any) -> None:
    assert isinstance(text, str), (what, text)
    assert text.strip(), what
    print(f"  {what}: {text.strip()!r}", flush=True)


PROGRAMS = {program.__name__: program for program in (litellm, llm, langchain, open_webui, schemathesis)}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
