"""Answers of S3 say the same as when botocore reads them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("aiobotocore")
import botocore.session
from aiobotocore.parsers import AioRestXMLParser

from cortexia_video.storage.s3_answers import open_session

_OBJECT = (
    "<Contents><Key>{key}</Key><LastModified>2026-11-30T19:02:11.000Z</LastModified><ETag>&quot;{size:032x}&quot;</ETag>"
    "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>{size}</Size>"
    "<Owner><ID>me</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>"
)
_AROUND = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult{space}><Name>bucket</Name><Prefix>in/</Prefix>'
    "<NextContinuationToken>1/abc=</NextContinuationToken><KeyCount>9</KeyCount><IsTruncated>true</IsTruncated>"
    "{inside}<CommonPrefixes><Prefix>in/b/</Prefix></CommonPrefixes></ListBucketResult>"
)
_SPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_KEYS = ("in/a.png", "in/a%20b%26.png", "in/&lt;é&gt;&amp;.png", "in/\n.png", "")


def _read(parser: Any, text: str) -> dict[str, Any]:
    shape = (
        botocore.session.get_session().get_service_model("s3").operation_model("ListObjectsV2").output_shape
    )
    answer = {"headers": {}, "body": text.encode(), "status_code": 200, "context": {}}
    return asyncio.run(parser.parse(answer, shape))


@pytest.mark.parametrize("space", [_SPACE, ""])
@pytest.mark.parametrize("count", [0, 1, len(_KEYS)])
def test_a_page_of_a_listing_says_what_botocore_reads_in_it(space: str, count: int) -> None:
    objects = [_OBJECT.format(key=key, size=7 * place) for place, key in enumerate(_KEYS[:count])]
    page = _AROUND.format(space=space, inside="".join(objects))
    ours = open_session().get_component("response_parser_factory").create_parser("rest-xml")
    read, theirs = _read(ours, page), _read(AioRestXMLParser(), page)
    unread = ("ChecksumAlgorithm", "ChecksumType", "Owner")
    for each in theirs.get("Contents", ()):
        assert each["LastModified"].timestamp() == 1_796_065_331
        for name in unread:
            del each[name]
    assert read == theirs
    assert len(read.get("Contents", ())) == count


def test_other_protocols_are_read_by_botocore() -> None:
    parser = open_session().get_component("response_parser_factory").create_parser("query")
    assert type(parser).__module__ == "aiobotocore.parsers"  # of the service that gives credentials
